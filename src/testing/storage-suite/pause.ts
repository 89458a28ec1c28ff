import assert from "node:assert/strict";
import type { LaneTarget } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import { COMPLETED, failed, type Stage } from "./stage.ts";

async function pause(stage: Stage, target: LaneTarget): Promise<void> {
  await stage.storage.configure(target, { paused: true });
}

async function resume(stage: Stage, target: LaneTarget): Promise<void> {
  await stage.storage.configure(target, { paused: false });
}

/** The paused lanes as `queue/name`, and the paused queues. */
async function paused(stage: Stage): Promise<[lanes: string[], queues: string[]]> {
  const { lanes, pausedQueues } = await stage.storage.lanes();
  return [lanes.filter((lane) => lane.paused).map(({ queue, name }) => `${queue}/${name}`), pausedQueues];
}

const BOTH = { names: ["a", "b"] };

const cases: Case[] = [
  {
    name: "passes a paused lane over and gives the others of its queue",
    async run(stage) {
      await stage.register();
      const [a, b, late] = await stage.enqueue({ priority: -1 }, { name: "b" }, { name: "a" });
      await pause(stage, { queue: "q", name: "a" });
      assert.deepEqual(await stage.claimIds(BOTH), [b]);
      assert.deepEqual(await paused(stage), [["q/a"], []]);
      await resume(stage, { queue: "q", name: "a" });
      assert.deepEqual(await stage.claimIds(BOTH), [a, late]);
      assert.deepEqual(await paused(stage), [[], []]);
    },
  },
  {
    name: "passes a paused queue over and gives the others",
    async run(stage) {
      await stage.register();
      const [a] = await stage.enqueue({}, { name: "b" });
      const other = await stage.enqueueOne({ queue: "r" });
      await pause(stage, { queue: "q" });
      const queues = ["q", "r"].map((queue) => ({ queue, ...BOTH, room: 9, readAhead: 9 }));
      assert.deepEqual(await stage.claimIds({ queues }), [other]);
      assert.deepEqual(await paused(stage), [["q/a", "q/b"], ["q"]]);
      await resume(stage, { queue: "q" });
      assert.deepEqual(await stage.claimIds({ room: 1 }), [a]);
    },
  },
  {
    name: "pauses a queue and a lane before their first job",
    async run(stage) {
      await stage.register();
      await pause(stage, { queue: "q1" });
      await pause(stage, { queue: "q2", name: "a" });
      assert.deepEqual((await paused(stage))[1], ["q1"]);
      const [, b] = await stage.enqueue({ queue: "q1" }, { queue: "q2", name: "b" }, { queue: "q2" });
      assert.deepEqual(await paused(stage), [["q1/a", "q2/a"], ["q1"]]);
      assert.deepEqual(await stage.claimIds({ queue: "q1" }), []);
      assert.deepEqual(await stage.claimIds({ queue: "q2", ...BOTH }), [b]);
    },
  },
  {
    name: "keeps a lane paused when only its queue is resumed, and the other way round",
    async run(stage) {
      await stage.register();
      await stage.enqueue({}, { name: "b" });
      await pause(stage, { queue: "q" });
      await pause(stage, { queue: "q", name: "a" });
      await resume(stage, { queue: "q" });
      assert.deepEqual(await paused(stage), [["q/a"], []]);
      await pause(stage, { queue: "q" });
      await resume(stage, { queue: "q", name: "a" });
      assert.deepEqual(await paused(stage), [["q/a", "q/b"], ["q"]]);
      assert.deepEqual(await stage.claimIds(BOTH), []);
    },
  },
  {
    name: "pauses a name in one queue and not in another",
    async run(stage) {
      await stage.register();
      const [, other] = await stage.enqueue({}, { queue: "r" });
      await pause(stage, { queue: "q", name: "a" });
      assert.deepEqual(await stage.claimIds({ queue: "r" }), [other]);
    },
  },
  {
    name: "pauses and resumes twice as once, and changes nothing by empty settings",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      await pause(stage, { queue: "q" });
      await pause(stage, { queue: "q" });
      await stage.storage.configure({ queue: "q" }, {});
      assert.deepEqual(await paused(stage), [["q/a"], ["q"]]);
      await resume(stage, { queue: "q" });
      await resume(stage, { queue: "q" });
      await stage.storage.configure({ queue: "q", name: "a" }, {});
      assert.deepEqual(await stage.claimIds(), [id]);
    },
  },
  {
    name: "goes on with what runs in a paused lane",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue({}, {}, {});
      const [a, b, c] = await stage.claim();
      assert.ok(a && b && c);
      await pause(stage, { queue: "q" });
      assert.equal(await stage.storage.note(a, { checkpoint: { x: "1" } }), "saved");
      assert.deepEqual((await stage.beat("p1", { holds: [a, b, c] })).lost, []);
      await stage.end(a, COMPLETED);
      await stage.end(b, failed({ delayMs: 0 }));
      await stage.end(c, { state: "available", marked: false });
      assert.deepEqual(await stage.claimIds(), []);
      await resume(stage, { queue: "q" });
      assert.deepEqual(await stage.claimIds(), [ids[2], ids[1]]);
    },
  },
  {
    name: "takes jobs and changes for a paused lane",
    async run(stage) {
      await stage.register();
      await pause(stage, { queue: "q", name: "a" });
      const [first, second, third] = await stage.enqueue({}, {}, {});
      await stage.change(first as number, { kind: "cancel", reason: "x" });
      await stage.change(third as number, { kind: "priority", priority: -1 });
      assert.equal(await stage.count({ state: "available" }), 2);
      assert.deepEqual(await stage.listIds({ state: "available" }), [second, third]);
      await resume(stage, { queue: "q", name: "a" });
      assert.deepEqual(await stage.claimIds(), [third, second]);
    },
  },
];

export const pauseSection: Section = { title: "configure", cases };
