import assert from "node:assert/strict";
import type { Case, Section } from "./section.ts";
import { COMPLETED, failed, RELEASED, settlement } from "./stage.ts";
import { OUTCOMES } from "./settle.ts";

const cases: Case[] = [
  ...OUTCOMES.map(({ what, outcome }): Case => ({
    name: `answers settled to a repeated "${what}" and changes nothing`,
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const job = await stage.claimOne();
      assert.equal(await stage.settle(job, outcome), "settled");
      const before = await stage.get(id);
      await stage.clock.advance(1_000);
      assert.equal(await stage.settle(job, outcome), "settled");
      assert.deepEqual(await stage.get(id), before);
      assert.equal((await stage.storage.attempts(id)).length, before.failures);
    },
  })),
  {
    name: "answers settled to a repetition in the same batch",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const job = await stage.claimOne();
      const twice = [settlement(job, failed({ delayMs: 5 })), settlement(job, failed({ delayMs: 5 }))];
      assert.deepEqual(await stage.storage.settle(twice), ["settled", "settled"]);
      assert.equal((await stage.get(id)).attempt, 1);
    },
  },
  {
    name: "answers settled to a repetition after the job was claimed again, which goes on undisturbed",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      const id = await stage.enqueueOne();
      const first = await stage.claimOne();
      await stage.end(first, RELEASED);
      const second = await stage.claimOne({ processId: "p2" });
      const before = await stage.get(id);
      assert.equal(await stage.settle(first, RELEASED), "settled");
      assert.deepEqual(await stage.get(id), before);
      await stage.end(second, COMPLETED);
    },
  },
  {
    name: "answers settled to a repetition after an operator's retry of the finished job",
    async run(stage) {
      const id = await stage.jobIn("available", { name: "a" });
      const job = await stage.claimOne();
      await stage.end(job, COMPLETED);
      await stage.change(id, { kind: "retry" });
      const before = await stage.get(id);
      assert.equal(await stage.settle(job, COMPLETED), "settled");
      assert.deepEqual(await stage.get(id), before);
    },
  },
  {
    name: "answers stale to the token that ended the run with another generation",
    async run(stage) {
      await stage.register();
      await stage.enqueue({}, {});
      const [released, completed] = await stage.claim();
      assert.ok(released && completed);
      await stage.end(released, RELEASED);
      await stage.end(completed, COMPLETED);
      for (const job of [released, completed]) {
        const before = await stage.get(job.id);
        for (const generation of [1, 2]) {
          assert.equal(await stage.settle({ ...job, generation }, COMPLETED), "stale");
        }
        assert.deepEqual(await stage.get(job.id), before);
      }
    },
  },
  {
    name: "answers stale to the first lease after a second one has ended the job",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const first = await stage.claimOne();
      await stage.end(first, RELEASED);
      await stage.end(await stage.claimOne(), COMPLETED);
      const before = await stage.get(id);
      assert.equal(await stage.settle(first, RELEASED), "stale");
      assert.deepEqual(await stage.get(id), before);
    },
  },
];

export const settleRepeatedSection: Section = { title: "settle repeated", cases };
