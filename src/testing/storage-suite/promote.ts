import assert from "node:assert/strict";
import { withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, failed } from "./stage.ts";

const cases: Case[] = [
  {
    name: "does nothing in an empty store",
    async run(stage) {
      assert.deepEqual(await stage.storage.promote(100), { promoted: 0 });
    },
  },
  {
    name: "makes a job available at its time and not before",
    async run(stage) {
      const id = await stage.enqueueOne({ later: { delayMs: 1_000 } });
      const nextAt = stage.clock.now() + 1_000;
      await stage.clock.advance(999);
      assert.deepEqual(await stage.storage.promote(100), { promoted: 0, nextAt });
      assert.equal(await stage.state(id), "scheduled");
      await stage.clock.advance(1);
      assert.deepEqual(await stage.storage.promote(100), { promoted: 1 });
      assertHas(await stage.get(id), { state: "available", runAt: nextAt, generation: 0 });
      assert.deepEqual(await stage.storage.promote(100), { promoted: 0 });
    },
  },
  {
    name: "promotes no more than the limit, earliest first, and says what is left",
    async run(stage) {
      const start = stage.clock.now();
      const delays = [500, 100, 400, 200, 300];
      const ids = await stage.enqueue(...delays.map((delayMs) => ({ later: { delayMs } })));
      await stage.clock.advance(450);
      assert.deepEqual(await stage.storage.promote(2), { promoted: 2, nextAt: start + 300 });
      assert.deepEqual(
        (await stage.listIds({ state: "available" })).map((id) => ids.indexOf(id)),
        [1, 3],
      );
      assert.deepEqual(await stage.storage.promote(2), { promoted: 2, nextAt: start + 500 });
    },
  },
  {
    name: "promotes jobs with and without a limit in one order of their times",
    async run(stage) {
      await stage.register();
      const delays = [40, 10, 30, 20, 10, 30];
      const ids = await stage.enqueue(
        ...delays.map((delayMs, n) =>
          n % 2 === 0 ? withLimit(9, { later: { delayMs } }) : { later: { delayMs } },
        ),
      );
      await stage.clock.advance(50);
      assert.equal((await stage.storage.promote(4)).promoted, 4);
      assert.equal((await stage.storage.promote(4)).promoted, 2);
      const order = [1, 4, 3, 2, 5, 0];
      assert.deepEqual(
        (await stage.claimIds()).map((id) => ids.indexOf(id)),
        order,
      );
    },
  },
  {
    name: "promotes retries as it promotes new jobs",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      await stage.end(await stage.claimOne(), failed({ delayMs: 2_000 }));
      await stage.clock.advance(2_000);
      assert.equal((await stage.storage.promote(1)).promoted, 1);
      assertHas(await stage.claimOne(), { id, attempt: 1, generation: 1 });
    },
  },
  {
    name: "promotes each job once when several processes promote at once",
    async run(stage) {
      await stage.enqueue(...Array.from({ length: 50 }, () => ({ later: { delayMs: 10 } })));
      await stage.clock.advance(10);
      const answers = await Promise.all(Array.from({ length: 4 }, () => stage.storage.promote(20)));
      assert.equal(
        answers.reduce((n, { promoted }) => n + promoted, 0),
        50,
      );
      assert.equal(await stage.count({ state: "available" }), 50);
    },
  },
  {
    name: "promotes into all lanes, paused ones too",
    async run(stage) {
      await stage.storage.configure({ queue: "q" }, { paused: true });
      await stage.enqueue({ later: { delayMs: 5 } }, { later: { delayMs: 5 }, queue: "other", name: "b" });
      await stage.clock.advance(5);
      assert.equal((await stage.storage.promote(10)).promoted, 2);
      assert.equal(await stage.count({ state: "available", queue: "q" }), 1);
    },
  },
  {
    name: "waits again when the clock was set back",
    async run(stage) {
      const id = await stage.enqueueOne({ later: { delayMs: 1_000 } });
      await stage.clock.set(stage.clock.now() - 60_000);
      await stage.clock.advance(60_500);
      assert.equal((await stage.storage.promote(10)).promoted, 0);
      await stage.clock.advance(500);
      assert.equal((await stage.storage.promote(10)).promoted, 1);
      assert.equal(await stage.state(id), "available");
    },
  },
  {
    name: "does not promote what was cancelled, removed, moved or started meanwhile",
    async run(stage) {
      const later = { delayMs: 100 };
      const [cancelled, removed, moved, started] = await stage.enqueue(
        { later },
        { later },
        { later },
        { later },
      );
      await stage.change(cancelled as number, { kind: "cancel", reason: "x" });
      await stage.change(removed as number, { kind: "remove" });
      await stage.change(moved as number, { kind: "runAt", later: { delayMs: 900 } });
      await stage.change(started as number, { kind: "retry" });
      const nextAt = stage.clock.now() + 900;
      await stage.clock.advance(100);
      assert.deepEqual(await stage.storage.promote(10), { promoted: 0, nextAt });
      assert.deepEqual(await stage.listIds({ state: "available" }), [started]);
    },
  },
];

export const promoteSection: Section = { title: "promote", cases };
