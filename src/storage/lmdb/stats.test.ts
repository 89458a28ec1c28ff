// Goal: what came and ended is told rightly however time goes and however rarely anybody writes, and the rows that are
// kept for it stay few. Against a plain list of all that happened.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { NewJob, Stats } from "../storage.ts";
import { flowKey } from "./keys.ts";
import { LmdbStorage } from "./lmdb-storage.ts";
import { joinStore } from "./shared.ts";

const MINUTE = 60_000;
const job: NewJob = {
  name: "a",
  queue: "q",
  payload: "1",
  maxRetries: 0,
  backoff: { kind: "fixed", delayMs: 1 },
  timeoutMs: null,
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
  tags: [],
  priority: 0,
};

/** Enqueued within the last `length` buckets of a width. */
function within(happened: readonly number[], now: number, ms: number, length: number): number {
  const last = Math.floor(now / ms);
  return happened.filter((at) => Math.floor(at / ms) > last - length && at <= now).length;
}

test("what came within an hour, a day and a month, and ever", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-stats-"));
  let now = Date.UTC(2030, 0, 1, 23, 59, 30);
  const storage = new LmdbStorage({ path: folder, clock: { now: () => now } as never });
  await storage.open();
  const { store, leave } = await joinStore(folder, "lmdb:test", undefined);
  const happened: number[] = [];
  // Dense at first, so that every width fills; then ever longer pauses, up to some beyond a month.
  const steps = [
    ...Array.from({ length: 110 }, (_, i) => (i % 3) * MINUTE),
    ...Array.from({ length: 40 }, (_, i) => (20 + i) * MINUTE),
    ...Array.from({ length: 40 }, (_, i) => (600 + 31 * i) * MINUTE),
    ...[29, 30, 31, 1, 32].map((days) => days * 1_440 * MINUTE),
    ...[59, 60, 61, 1_439, 1_440].map((minutes) => minutes * MINUTE),
  ];
  for (const [i, step] of steps.entries()) {
    now += step;
    // Every other time nothing is written since, so that what is old by now is not put away yet.
    if (i % 2 === 0) {
      await storage.enqueue([[job]]);
      happened.push(now);
    }
    const found: Stats = await storage.stats({ queue: "q", name: "a" });
    const flow = (enqueued: number): Stats["hour"] => ({ enqueued, completed: 0, cancelled: 0, dead: 0 });
    expect(found).toEqual({
      hour: flow(within(happened, now, MINUTE, 60)),
      day: flow(within(happened, now, 60 * MINUTE, 24)),
      month: flow(within(happened, now, 1_440 * MINUTE, 30)),
      total: flow(happened.length),
    });
    expect(await storage.stats({})).toEqual(found);
  }
  await store.hold(() => {
    const [lane] = store.lanes.select("q", "a");
    const id = lane?.id as number;
    const rows = store.durable.flow.rows(flowKey(id, 0, -Infinity), flowKey(id + 1, 0, -Infinity), 1_000);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.length).toBeLessThan(60 + 24 + 30 + 2);
  });
  // Nobody writes any more: what is told goes down by itself.
  now += 40 * 1_440 * MINUTE;
  const { hour, day, month, total } = await storage.stats({ name: "a" });
  expect([hour, day, month, total].map(({ enqueued }) => enqueued)).toEqual([0, 0, 0, happened.length]);
  await leave();
  await storage.close();
  rmSync(folder, { recursive: true });
});
