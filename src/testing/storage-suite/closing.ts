import assert from "node:assert/strict";
import { StorageClosedError } from "../../errors.ts";
import type { Case, Section } from "./section.ts";
import { beatOf, COMPLETED, newJob, settlement, type Stage } from "./stage.ts";

const LEASE = { id: 1, generation: 0, token: "p1:1" };

/** Every method but `close`. */
const CALLS: Readonly<Record<string, (stage: Stage) => Promise<unknown>>> = {
  open: ({ storage }) => storage.open(),
  enqueue: ({ storage }) => storage.enqueue([[newJob()]]),
  claim: (stage) => stage.storage.claim(stage.request()),
  settle: ({ storage }) => storage.settle([settlement(LEASE, COMPLETED)]),
  exchange: (stage) => stage.storage.exchange([], stage.request()),
  note: ({ storage }) => storage.note(LEASE, { result: "1" }),
  beat: ({ storage }) => storage.beat(beatOf("p1", { first: true })),
  watch: async ({ storage }) => storage.watch({}, () => {}),
  promote: ({ storage }) => storage.promote(1),
  rescue: ({ storage }) => storage.rescue({ processId: "p1", token: "p1:1", limit: 1 }),
  prune: ({ storage }) => storage.prune(1),
  get: ({ storage }) => storage.get([1]),
  list: ({ storage }) => storage.list({ state: "available", limit: 1 }),
  count: ({ storage }) => storage.count({}),
  attempts: ({ storage }) => storage.attempts(1),
  lanes: ({ storage }) => storage.lanes(),
  processes: ({ storage }) => storage.processes(),
  change: ({ storage }) => storage.change([1], { kind: "retry" }),
  configure: ({ storage }) => storage.configure({ queue: "q" }, { paused: true }),
};

const cases: Case[] = [
  {
    name: "opens twice as once",
    async run(stage) {
      const id = await stage.enqueueOne();
      await stage.storage.open();
      assert.equal(await stage.state(id), "available");
    },
  },
  ...Object.entries(CALLS).map(([method, call]): Case => ({
    name: `refuses ${method} after it was closed, with a message that names it`,
    ends: true,
    async run(stage) {
      await stage.storage.close();
      await assert.rejects(call(stage), (error: unknown) => {
        assert.ok(error instanceof StorageClosedError);
        assert.ok(error.message.includes(stage.storage.label));
        return true;
      });
    },
  })),
  {
    name: "closes twice as once, also at once",
    ends: true,
    async run(stage) {
      await Promise.all([stage.storage.close(), stage.storage.close()]);
      await stage.storage.close();
    },
  },
  {
    name: "wakes nobody after it was closed",
    ends: true,
    async run(stage) {
      let woken = 0;
      stage.storage.watch({ available: [{ queue: "q" }] }, () => woken++);
      await stage.storage.close();
      const before = woken;
      await new Promise<void>((resolve) => setImmediate(resolve));
      assert.equal(woken, before);
    },
  },
];

export const closingSection: Section = { title: "open and close", cases };
