// Goal: statistics are the same before and after upkeep has folded what they are made of, and forget by the clock.
import { expect, test } from "vitest";
import type { Flow } from "../../src/storage/storage.ts";
import { places } from "./upkeep-stage.ts";

const place = places();

const MINUTE = 60_000;
const flow = (enqueued: number, completed = 0, cancelled = 0, dead = 0): Flow => ({
  ...{ enqueued, completed, cancelled, dead },
});

test("what came and ended is counted once, folded or not, and forgotten by the clock", async () => {
  const { stage, sql } = await place();
  const { storage, clock } = stage;
  await stage.register();
  await clock.set(30_000 * 86_400_000);
  // Rows enough to be worth folding.
  for (let n = 0; n < 40; n++) await stage.enqueue({}, { name: "b" });
  const kept = await stage.claim({ names: ["a"], room: 30 });
  await storage.settle(kept.map((job) => ({ lease: job, outcome: { state: "completed" }, startedAt: 1 })));
  const before = await storage.stats({});
  expect(before).toEqual({ hour: flow(80, 30), day: flow(80, 30), month: flow(80, 30), total: flow(80, 30) });
  await storage.prune(1);
  expect(await sql("select minute from $s.tally where minute is not null")).toEqual([]);
  expect(await storage.stats({})).toEqual(before);
  expect((await storage.stats({ name: "b" })).total).toEqual(flow(40));

  // Partly folded: the first hour is over, the day is not.
  await clock.advance(60 * MINUTE);
  const [more] = await stage.enqueue({});
  await stage.change(more as number, { kind: "cancel", reason: "test" });
  expect(await storage.stats({})).toEqual({
    ...{ hour: flow(1, 0, 1), day: flow(81, 30, 1), month: flow(81, 30, 1), total: flow(81, 30, 1) },
  });
  await clock.advance(61 * 1_440 * MINUTE);
  for (let n = 0; n < 40; n++) await stage.enqueue({}, { name: "b" });
  for (let n = 0; n < 2; n++) await storage.prune(1);
  const last = { hour: flow(80), day: flow(80), month: flow(80), total: flow(161, 30, 1) };
  expect(await storage.stats({})).toEqual(last);
  // Old buckets are gone, not only passed over.
  expect(await sql("select unit, count(distinct at)::text from $s.stat group by unit order by unit")).toEqual(
    [
      ["0", "1"],
      ["1", "1"],
      ["2", "1"],
      ["3", "1"],
    ],
  );
});
