import assert from "node:assert/strict";
import type { Interest } from "../../storage/storage.ts";
import { enqueueAndPromote, withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { at, COMPLETED, failed, MARKED, RELEASED, type Stage } from "./stage.ts";

/** Hints may be late; one that takes longer than this counts as lost, and an engine that loses all has none. */
const HINT_MS = 10_000;

/** What makes a hint, for an interest that the first step names. */
const WAKES: readonly (readonly [
  string,
  (stage: Stage) => Promise<{ interest: Interest; happen: () => Promise<unknown> }>,
])[] = [
  [
    "a job that is enqueued in a watched lane",
    async (stage) => ({
      interest: { available: [{ queue: "other" }, { queue: "q", names: ["b", "a"] }] },
      happen: () => stage.enqueueOne(),
    }),
  ],
  [
    "a job of any name in a watched queue",
    async (stage) => ({
      interest: { available: [{ queue: "q" }] },
      happen: () => stage.enqueueOne({ name: "new" }),
    }),
  ],
  [
    "a job that is promoted",
    async (stage) => {
      await stage.enqueueOne({ later: { delayMs: 10 } });
      await stage.clock.advance(10);
      return { interest: { available: [{ queue: "q" }] }, happen: () => stage.storage.promote(1) };
    },
  ],
  [
    "a job with a limit, which waits for its promotion",
    async (stage) => ({
      interest: { available: [{ queue: "q" }] },
      happen: () => stage.enqueueOne(withLimit(1)),
    }),
  ],
  [
    "a blocked job whose limit key another lane's job lets go of",
    async (stage) => {
      await stage.register();
      const names = ["a", "b"];
      const [id] = await enqueueAndPromote(stage, ...names.map((name) => withLimit(1, { name })));
      await stage.claim({ names });
      assert.equal(await stage.count({ state: "blocked", name: "b" }), 1);
      return {
        interest: { available: [{ queue: "q", names: ["b"] }] },
        happen: () => stage.end(stage.leaseFor(id as number), COMPLETED),
      };
    },
  ],
  [
    "a job that is released",
    async (stage) => {
      const id = await stage.jobIn("running");
      return {
        interest: { available: [{ queue: "q", names: ["running"] }] },
        happen: () => stage.end(stage.leaseFor(id), RELEASED),
      };
    },
  ],
  [
    "a job that goes back marked",
    async (stage) => {
      const id = await stage.jobIn("running");
      return {
        interest: { available: [{ queue: "q" }] },
        happen: () => stage.end(stage.leaseFor(id), MARKED),
      };
    },
  ],
  [
    "a job that is to be retried at once",
    async (stage) => {
      const id = await stage.jobIn("running");
      const outcome = failed({ delayMs: 0 });
      return {
        interest: { available: [{ queue: "q" }] },
        happen: () => stage.end(stage.leaseFor(id), outcome),
      };
    },
  ],
  [
    "a dead job that an operator retries",
    async (stage) => {
      const id = await stage.jobIn("dead");
      return { interest: { available: [{ queue: "q" }] }, happen: () => stage.change(id, { kind: "retry" }) };
    },
  ],
  [
    "a lane with jobs that is resumed",
    async (stage) => {
      await stage.storage.configure({ queue: "q", name: "a" }, { paused: true });
      await stage.enqueueOne();
      const resume = (): Promise<void> =>
        stage.storage.configure({ queue: "q", name: "a" }, { paused: false });
      return { interest: { available: [{ queue: "q", names: ["a"] }] }, happen: resume };
    },
  ],
  [
    "a queue with jobs that is resumed",
    async (stage) => {
      await stage.storage.configure({ queue: "q" }, { paused: true });
      await stage.enqueueOne();
      const resume = (): Promise<void> => stage.storage.configure({ queue: "q" }, { paused: false });
      return { interest: { available: [{ queue: "q" }] }, happen: resume };
    },
  ],
  [
    "a watched job that completes",
    async (stage) => {
      const id = await stage.jobIn("running");
      return {
        interest: { finished: [999_999, id] },
        happen: () => stage.end(stage.leaseFor(id), COMPLETED),
      };
    },
  ],
  [
    "a watched job that an operator cancels",
    async (stage) => {
      const id = await stage.jobIn("scheduled");
      const cancel = (): Promise<unknown> => stage.change(id, { kind: "cancel", reason: "x" });
      return { interest: { finished: [id] }, happen: cancel };
    },
  ],
  [
    "a running job of a watched process that is asked to cancel",
    async (stage) => {
      const id = await stage.jobIn("running");
      const cancel = (): Promise<unknown> => stage.change(id, { kind: "cancel", reason: "x" });
      return { interest: { asked: "p1" }, happen: cancel };
    },
  ],
];

const cases: Case[] = [
  ...WAKES.map(([what, prepare]): Case => ({
    name: `wakes for ${what}`,
    async run(stage) {
      const { interest, happen } = await prepare(stage);
      let unwatch = (): void => {};
      const woken = new Promise<void>((resolve) => {
        unwatch = stage.storage.watch(interest, resolve);
      });
      await happen();
      await withinHint(woken);
      unwatch();
    },
  })),
  {
    name: "wakes every one who watches, and again for what happens later",
    async run(stage) {
      for (let round = 0; round < 2; round++) {
        const watches = [0, 1, 2].map(() => {
          let unwatch = (): void => {};
          const woken = new Promise<void>((resolve) => {
            unwatch = stage.storage.watch({ available: [{ queue: "q" }] }, resolve);
          });
          return { woken, unwatch: () => unwatch() };
        });
        await stage.enqueueOne();
        await withinHint(Promise.all(watches.map(({ woken }) => woken)));
        for (const { unwatch } of watches) unwatch();
      }
    },
  },
  {
    name: "goes on waking one who stays",
    async run(stage) {
      let wake = (): void => {};
      const unwatch = stage.storage.watch({ available: [{ queue: "q" }] }, () => wake());
      for (let round = 0; round < 3; round++) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await stage.enqueueOne();
        await withinHint(woken);
        await turn();
      }
      unwatch();
    },
  },
  {
    name: "never wakes within the call that makes the hint",
    async run(stage) {
      let isInside = true;
      let wokenInside = false;
      const unwatch = stage.storage.watch({ available: [{ queue: "q" }] }, () => {
        wokenInside ||= isInside;
      });
      const call = stage.enqueueOne();
      isInside = false;
      await call;
      await turn();
      unwatch();
      assert.equal(wokenInside, false);
    },
  },
  {
    name: "does not wake one who has stopped watching",
    async run(stage) {
      const woken: number[] = [];
      const interest = { available: [{ queue: "q" }], finished: [1, 2, 3], asked: "p1" };
      const unwatch = [0, 1].map((n) => stage.storage.watch(interest, () => void woken.push(n)));
      await turn();
      woken.length = 0;
      at(unwatch, 0)();
      at(unwatch, 0)();
      const id = await stage.jobIn("running");
      await stage.change(id, { kind: "cancel", reason: "x" });
      await stage.end(stage.leaseFor(id), COMPLETED);
      await turn();
      assert.equal(woken.includes(0), false);
      at(unwatch, 1)();
    },
  },
  {
    name: "does not wake one who stops watching while the hint is on its way",
    async run(stage) {
      let woken = 0;
      const unwatch = stage.storage.watch({ available: [{ queue: "q" }] }, () => woken++);
      const call = stage.enqueueOne();
      unwatch();
      await call;
      await turn();
      assert.equal(woken, 0);
    },
  },
  {
    name: "may be asked to watch nothing, or what is not there",
    async run(stage) {
      stage.storage.watch({}, () => {})();
      stage.storage.watch({ available: [], finished: [] }, () => {})();
      stage.storage.watch(
        { available: [{ queue: "none", names: [] }], finished: [999], asked: "x" },
        () => {},
      )();
      assert.deepEqual(await stage.storage.lanes(), { lanes: [], pausedQueues: [] });
    },
  },
];

async function withinHint(woken: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: "no wake-up came" })), HINT_MS);
  });
  try {
    await Promise.race([woken, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets what is under way in the event loop happen. */
async function turn(): Promise<void> {
  for (let n = 0; n < 3; n++) await new Promise<void>((resolve) => setImmediate(resolve));
}

export const watchSection: Section = { title: "watch", cases };
