import assert from "node:assert/strict";
import { hostname } from "node:os";
import type { Case, Section } from "./section.ts";
import { assertHas, beatOf, COMPLETED, leaseOf, LOST_AFTER_MS, only, RELEASED } from "./stage.ts";

const cases: Case[] = [
  {
    name: "registers a process with its first beat and lists it",
    async run(stage) {
      const queues = [{ queue: "q", names: ["a", "b"], concurrency: 7 }];
      assert.deepEqual(await stage.register("p1", { name: "worker 7", queues }), {
        known: true,
        lost: [],
        asks: [],
      });
      stage.livePast(1_500);
      assertHas(only(await stage.storage.processes()), {
        ...{
          id: "p1",
          name: "worker 7",
          host: hostname(),
          pid: process.pid,
          queues,
          lostAfterMs: LOST_AFTER_MS,
        },
        ...{ registeredAt: stage.clock.now(), silentMs: 1_500, lost: false, running: 0 },
      });
    },
  },
  {
    name: "does not know a process that beats without having registered",
    async run(stage) {
      assert.equal((await stage.beat("stranger")).known, false);
      assert.deepEqual(await stage.storage.processes(), []);
    },
  },
  {
    name: "takes a repeated first beat for a beat",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const job = await stage.claimOne();
      stage.livePast(10_000);
      assert.deepEqual(await stage.register("p1", { holds: [job] }), { known: true, lost: [], asks: [] });
      assertHas(only(await stage.storage.processes()), { silentMs: 0, running: 1 });
    },
  },
  {
    name: "takes over what later beats say of the process",
    async run(stage) {
      await stage.register();
      const registeredAt = stage.clock.now();
      await stage.clock.advance(5_000);
      stage.livePast(5_000);
      const queues = [{ queue: "other", names: ["b"], concurrency: 1 }];
      assert.equal((await stage.beat("p1", { queues, lostAfterMs: 60_000 })).known, true);
      const info = only(await stage.storage.processes());
      assertHas(info, { queues, lostAfterMs: 60_000, registeredAt, silentMs: 0 });
      stage.livePast(LOST_AFTER_MS + 1);
      assert.equal(only(await stage.storage.processes()).lost, false);
    },
  },
  {
    name: "keeps which schedules a process declares, as its last beat says",
    async run(stage) {
      const declares = ["every/1s", "ä🙂", "__proto__"];
      await stage.register("p1", { declares });
      await stage.register("p2");
      const declared = async (): Promise<unknown> =>
        (await stage.storage.processes()).map((info) => [info.id, info.declares]).toSorted();
      assert.deepEqual(await declared(), [
        ["p1", declares],
        ["p2", undefined],
      ]);
      await stage.beat("p2", { declares: [] });
      await stage.beat("p1");
      assert.deepEqual(await declared(), [
        ["p1", undefined],
        ["p2", []],
      ]);
    },
  },
  {
    name: "counts the jobs that a process holds",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      await stage.enqueue({}, {}, {});
      await stage.claim({ processId: "p1", room: 2 });
      const running = (await stage.storage.processes()).map((info) => [info.id, info.running]);
      assert.deepEqual(running.sort(), [
        ["p1", 2],
        ["p2", 0],
      ]);
    },
  },
  {
    name: "keeps a process alive as long as it beats",
    async run(stage) {
      await stage.register();
      for (let round = 0; round < 5; round++) {
        stage.livePast(LOST_AFTER_MS - 1);
        assert.equal((await stage.beat()).known, true);
      }
      assert.equal((await stage.claimAll()).known, true);
    },
  },
  {
    name: "judges who is lost by real time, never by the clock of schedules",
    async run(stage) {
      await stage.register();
      await stage.clock.advance("365d");
      assertHas(only(await stage.storage.processes()), { lost: false });
      assert.equal((await stage.beat()).known, true);
      await stage.clock.set(stage.clock.now() - 86_400_000);
      stage.livePast(LOST_AFTER_MS + 1);
      assertHas(only(await stage.storage.processes()), { lost: true, silentMs: LOST_AFTER_MS + 1 });
    },
  },
  {
    name: "does not let a process that was lost come back under its id",
    async run(stage) {
      await stage.register();
      stage.livePast(LOST_AFTER_MS + 1);
      assert.equal((await stage.beat()).known, false);
      assert.equal((await stage.storage.beat(beatOf("p1", { first: true }))).known, false);
      assert.equal((await stage.claimAll()).known, false);
      await stage.register("p1 again");
      assert.equal((await stage.claimAll({ processId: "p1 again" })).known, true);
    },
  },
  {
    name: "answers which of the named leases no longer stand, in their order",
    async run(stage) {
      await stage.register();
      await stage.enqueue({}, {}, {}, {});
      const [a, b, c, d] = await stage.claim();
      assert.ok(a && b && c && d);
      await stage.end(c, COMPLETED);
      await stage.end(a, RELEASED);
      const { known, lost } = await stage.beat("p1", { holds: [c, b, a, d].map(leaseOf) });
      assert.equal(known, true);
      assert.deepEqual(lost.map(leaseOf), [c, a].map(leaseOf));
    },
  },
  {
    name: "reports to a process who should be cancelled until the run ends",
    async run(stage) {
      await stage.register("p2");
      const id = await stage.jobIn("asked");
      const ask = { id, generation: 0, reason: "first reason" };
      assert.deepEqual((await stage.beat()).asks, [ask]);
      assert.deepEqual((await stage.beat()).asks, [ask]);
      assert.deepEqual((await stage.beat("p2")).asks, []);
      await stage.end(stage.leaseFor(id), RELEASED);
      assert.deepEqual((await stage.beat()).asks, []);
    },
  },
  {
    name: "forgets a process that leaves with empty hands",
    async run(stage) {
      await stage.register();
      assert.equal((await stage.beat("p1", { leaving: true })).known, true);
      assert.deepEqual(await stage.storage.processes(), []);
      assert.equal((await stage.beat()).known, false);
    },
  },
  {
    name: "counts a process that leaves with jobs in its hands as lost at once",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const job = await stage.claimOne();
      assert.deepEqual(await stage.beat("p1", { leaving: true, holds: [job] }), {
        known: true,
        lost: [],
        asks: [],
      });
      assertHas(only(await stage.storage.processes()), { id: "p1", lost: true, running: 1 });
      assert.equal((await stage.beat()).known, false);
    },
  },
];

export const beatSection: Section = { title: "beat", cases };
