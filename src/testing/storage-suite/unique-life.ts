import assert from "node:assert/strict";
import type { JobId } from "../../job/job.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import { heldKeys, offer, withKey } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, ERROR, failed, MARKED, RELEASED, snoozed, type Stage } from "./stage.ts";

const CANCELLED: Outcome = { state: "cancelled", reason: "x" };
const DEAD: Outcome = { state: "dead", error: ERROR };

/** Every way a run can end: whether the job has ended with it. */
const ENDS: readonly (readonly [Outcome, boolean])[] = [
  [COMPLETED, true],
  [CANCELLED, true],
  [DEAD, true],
  [RELEASED, false],
  [MARKED, false],
  [failed({ delayMs: 0 }), false],
  [failed({ delayMs: 9_000 }), false],
  [snoozed({ delayMs: 9_000 }), false],
  [{ state: "scheduled", later: { delayMs: 0 }, attempt: "reset" }, false],
];

const ENDED_AT_ONCE = { completedMs: 0, cancelledMs: 0, deadMs: 0 };

/** A finished job of a key that left something behind, and how it came to its end. */
async function finished(
  stage: Stage,
  outcome: Outcome,
  more: Parameters<typeof withKey>[1] = {},
): Promise<JobId> {
  const id = await stage.enqueueOne(withKey({ inherit: true }, more));
  const job = await stage.claimOne();
  await stage.storage.note(job, { checkpoint: { from: `${id}` } });
  await stage.end(job, outcome);
  return id;
}

const cases: Case[] = [
  {
    name: "frees a key in the step that ends its job, by whatever end, and in no other",
    async run(stage) {
      await stage.register();
      for (const retention of [newRetention(null), ENDED_AT_ONCE]) {
        for (const [outcome, isEnd] of ENDS) {
          const id = await stage.enqueueOne(withKey({}, { retention }));
          await stage.end(await stage.claimOne(), outcome);
          assert.deepEqual(await heldKeys(stage), isEnd ? [] : [{ key: "k", id }], outcome.state);
          const [status, next] = await offer(stage, withKey());
          assert.equal(status, isEnd ? "created" : "existing", outcome.state);
          // By hand: cancelled while it waits, or taken out.
          const how =
            next % 2 === 0 ? ({ kind: "cancel", reason: "x" } as const) : ({ kind: "remove" } as const);
          assert.equal(await stage.change(next, how), "changed");
          assert.deepEqual(await heldKeys(stage), []);
        }
      }
    },
  },
  {
    name: "frees the key of a removed job that time would hold, and of a pruned one that it does not",
    async run(stage) {
      await stage.register();
      const removed = await stage.enqueueOne(withKey({ forMs: null }));
      await stage.end(await stage.claimOne(), COMPLETED);
      assert.deepEqual(await heldKeys(stage), [{ key: "k", id: removed, until: null }]);
      await stage.change(removed, { kind: "remove" });
      assert.deepEqual(await heldKeys(stage), []);

      const retention = { completedMs: 10, cancelledMs: 10, deadMs: 10 };
      const pruned = await stage.enqueueOne(withKey({ forMs: 60_000 }, { retention }));
      const until = stage.clock.now() + 60_000;
      await stage.end(await stage.claimOne(), COMPLETED);
      await stage.clock.advance(10);
      assert.equal(await stage.storage.prune(10), 1);
      assert.deepEqual(await heldKeys(stage), [{ key: "k", id: pruned, until }]);
      await stage.clock.advance(60_000);
      await stage.storage.prune(10);
      assert.deepEqual(await heldKeys(stage), []);
    },
  },
  {
    name: "lets the next job of a waiting key in once the last one runs, and the later one holds it",
    async run(stage) {
      await stage.register();
      const waiting = withKey({ while: "waiting" });
      const first = await stage.enqueueOne(waiting);
      const job = await stage.claimOne();
      assert.deepEqual(await heldKeys(stage), []);
      const second = await stage.enqueueOne(waiting);
      // The first waits again, but the key is another's by now: neither its end frees it.
      await stage.end(job, failed({ delayMs: 0 }));
      assert.deepEqual(await heldKeys(stage), [{ key: "k", id: second }]);
      assert.deepEqual(await offer(stage, waiting), ["existing", second]);
      await stage.change(first, { kind: "cancel", reason: "x" });
      assert.deepEqual(await heldKeys(stage), [{ key: "k", id: second }]);
      // Nobody took it while the second ran, so that it holds it again.
      await stage.end(await stage.claimOne(), RELEASED);
      assert.deepEqual(await offer(stage, waiting), ["existing", second]);
      const running = await stage.claimOne();
      const third = await stage.enqueueOne(waiting);
      await stage.end(running, COMPLETED);
      assert.deepEqual(await heldKeys(stage), [{ key: "k", id: third }]);
    },
  },
  {
    name: "answers conflict to a retry of a job whose key another one holds, and changes nothing",
    async run(stage) {
      await stage.register();
      for (const kind of ["live", "waiting"] as const) {
        const dead: JobId[] = [];
        for (let n = 0; n < 2; n++) {
          dead.push(await stage.enqueueOne(withKey({ key: kind, while: kind })));
          await stage.end(await stage.claimOne(), DEAD);
        }
        const [first, second] = dead as [JobId, JobId];
        const holder = await stage.enqueueOne(withKey({ key: kind, while: kind }));
        const before = await stage.storage.get(dead);
        assert.deepEqual(await stage.storage.change(dead, { kind: "retry" }), ["conflict", "conflict"]);
        assert.deepEqual(await stage.storage.get(dead), before);
        await stage.end(await stage.claimOne(), COMPLETED);
        // Of the two, one can be run again.
        assert.deepEqual(await stage.storage.change([second, first], { kind: "retry" }), [
          "changed",
          "conflict",
        ]);
        assert.deepEqual(await offer(stage, withKey({ key: kind })), ["existing", second]);
        assert.deepEqual(await stage.storage.change([holder, second], { kind: "retry" }), [
          "conflict",
          "unchanged",
        ]);
        await stage.end(await stage.claimOne(), DEAD);
        assert.deepEqual(await heldKeys(stage), []);
      }
    },
  },
  {
    name: "lets a job be run again whose key is its own, or holds nothing while it lives",
    async run(stage) {
      await stage.register();
      const start = stage.clock.now();
      const own = await stage.enqueueOne(withKey({ key: "own", forMs: 60_000 }));
      await stage.end(await stage.claimOne(), DEAD);
      assert.equal(await stage.change(own, { kind: "retry" }), "changed");
      assert.deepEqual(await heldKeys(stage), [{ key: "own", id: own, until: start + 60_000 }]);
      await stage.end(await stage.claimOne(), DEAD);

      const timed = await stage.enqueueOne(withKey({ key: "t", while: null, forMs: 1_000 }));
      await stage.end(await stage.claimOne(), DEAD);
      await stage.clock.advance(1_000);
      const next = await stage.enqueueOne(withKey({ key: "t", while: null, forMs: 9_000 }, { name: "b" }));
      assert.equal(await stage.change(timed, { kind: "retry" }), "changed");
      assert.equal((await stage.storage.keys({ scope: "a", key: "t", limit: 1 })).keys[0]?.id, next);
    },
  },
  {
    name: "hands the checkpoint of a finished job on to the next of its key that wants it",
    async run(stage) {
      await stage.register();
      for (const outcome of [COMPLETED, CANCELLED, DEAD]) {
        const id = await finished(stage, outcome);
        assert.deepEqual(await heldKeys(stage), []);
        // Enqueued together, the second one meets the first.
        const [heir, again] = await stage.enqueueGroup(
          withKey({ inherit: true }),
          withKey({ inherit: true }),
        );
        assert.deepEqual(again, { status: "existing", id: heir?.id });
        const job = await stage.claimOne();
        assertHas(job, { id: heir?.id ?? 0, checkpoint: { from: `${id}` } });
        await stage.storage.note(job, { checkpoint: { own: "1" } });
        await stage.end(job, COMPLETED);
        await stage.enqueueOne(withKey({ inherit: true }));
        const last = await stage.claimOne();
        assert.deepEqual(last.checkpoint, { from: `${id}`, own: "1" });
        await stage.storage.note(last, { checkpoint: { from: null, own: null } });
        await stage.end(last, COMPLETED);
      }
    },
  },
  {
    name: "hands on what a job left that was cancelled while it waited, and none to whoever does not ask",
    async run(stage) {
      await stage.register();
      const id = await finished(stage, RELEASED);
      await stage.change(id, { kind: "cancel", reason: "x" });
      await stage.enqueueOne(withKey({ inherit: true }));
      const heir = await stage.claimOne();
      assert.deepEqual(heir.checkpoint, { from: `${id}` });
      await stage.end(heir, COMPLETED);
      await stage.enqueueOne(withKey());
      assertHas(await stage.claimOne(), { checkpoint: undefined });
    },
  },
  {
    name: "hands on nothing of a job that has not ended, though another one has its key by now",
    async run(stage) {
      await stage.register();
      const waiting = withKey({ while: "waiting", inherit: true });
      await stage.enqueueOne(waiting);
      const running = await stage.claimOne();
      await stage.storage.note(running, { checkpoint: { own: "1" } });
      await stage.enqueueOne(waiting);
      const second = await stage.claimOne();
      assertHas(second, { checkpoint: undefined });
      await stage.end(running, RELEASED);
      assertHas(await stage.claimOne(), { id: running.id, checkpoint: { own: "1" } });
    },
  },
  {
    name: "has nothing to hand on of a job that is gone",
    async run(stage) {
      await stage.register();
      await finished(stage, COMPLETED, { retention: ENDED_AT_ONCE });
      await finished(stage, COMPLETED, { retention: newRetention(10) });
      await stage.clock.advance(10);
      await stage.storage.prune(10);
      const removed = await stage.enqueueOne(withKey({ inherit: true }));
      assertHas(await stage.claimOne(), { checkpoint: undefined });
      await stage.storage.note(stage.leaseFor(removed), { checkpoint: { a: "1" } });
      await stage.end(stage.leaseFor(removed), DEAD);
      await stage.change(removed, { kind: "remove" });
      await stage.enqueueOne(withKey({ inherit: true }));
      assertHas(at(await stage.claim(), 0), { checkpoint: undefined });
    },
  },
];

function newRetention(
  ms: number | null,
): typeof ENDED_AT_ONCE | Record<keyof typeof ENDED_AT_ONCE, number | null> {
  return { completedMs: ms, cancelledMs: ms, deadMs: ms };
}

export const uniqueLifeSection: Section = { title: "unique keys in a job's life", cases };
