import { afterEach, describe, expect, it } from "vitest";
import {
  defineJob,
  fixed,
  type JobContext,
  type JobEvent,
  LeaseLostError,
  snooze,
  StateError,
  type Worker,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { joining, PretendedTransaction } from "../support/joining-storage.ts";
import { storages } from "../support/storages.ts";
import { gate, until, type World, world } from "../support/world.ts";

// Goal: a run that was completed in a transaction ends as that transaction ended, and is told of so.
// Method: transactions that are pretended, on every storage that moves by a test clock; the real ones, with
// their locks, are in test/postgres/transactions.test.ts.

/** What a worker tells of ends, in order. */
function ends(worker: Worker): string[] {
  const told: string[] = [];
  for (const event of ["completed", "failed", "dead", "cancelled", "snoozed", "released", "stale"] as const) {
    worker.on(event, (about: JobEvent & { readonly error?: { readonly message: string } }) => {
      told.push(`${event} ${about.attempt}${about.error === undefined ? "" : ` ${about.error.message}`}`);
    });
  }
  return told;
}

describe.each(storages.map(joining))("ctx.completeIn(tx), on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  /** Run one job once for each of these handlers, as attempts. */
  async function runs(
    ...handlers: ((ctx: JobContext) => unknown)[]
  ): Promise<{ told: string[]; id: string }> {
    here = await world(kind);
    const job = defineJob({
      name: "transactional",
      backoff: fixed(0),
      maxRetries: handlers.length - 1,
      run: async (_payload, ctx) => (handlers[ctx.job.attempt - 1] as (ctx: JobContext) => unknown)(ctx),
    });
    const { id } = await here.jobs.enqueue(job, 0);
    const worker = here.jobs.worker([job]);
    const told = ends(worker);
    await runUntilIdle(worker);
    return { told, id };
  }

  it("completes the job with the result when it commits, whatever is returned afterwards", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      expect(await ctx.completeIn(tx, { n: 1 })).toEqual({ n: 1 });
      expect((await here.jobs.get(ctx.job.id))?.state).toBe("running");
      await tx.commit();
      expect((await here.jobs.get(ctx.job.id))?.state).toBe("completed");
      return "something else";
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: { n: 1 }, attempt: 1 });
    expect(await here.jobs.attempts(id)).toEqual([]);
    expect(told).toEqual(["completed 1"]);
  });

  it("completes without a result", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      expect(await ctx.completeIn(tx)).toBeUndefined();
      await tx.commit();
    });
    expect((await here.jobs.get(id))?.state).toBe("completed");
    expect(await here.jobs.get(id)).not.toHaveProperty("result");
    expect(told).toEqual(["completed 1"]);
  });

  it("lets what is thrown after the commit change nothing, and says so", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      await ctx.completeIn(tx, 1);
      await tx.commit();
      throw new Error("too late");
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: 1, attempt: 1 });
    expect(told).toEqual(["completed 1"]);
    expect(here.lines.filter(({ level }) => level === "warn").map(({ message }) => message)).toEqual([
      expect.stringContaining("was completed by its transaction, and then failed: Error: too late"),
    ]);
  });

  it("lets what is returned after the commit change nothing, a snooze neither", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      await ctx.completeIn(tx, 1);
      await tx.commit();
      return snooze("1h");
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: 1, snoozes: 0 });
    expect(told).toEqual(["completed 1"]);
  });

  it("fails the attempt with what is thrown when it is rolled back", async () => {
    const { told, id } = await runs(
      async (ctx) => {
        const tx = new PretendedTransaction();
        await ctx.completeIn(tx, 1);
        tx.rollback();
        throw new Error("no luck");
      },
      () => 2,
    );
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: 2, attempt: 2 });
    expect((await here.jobs.attempts(id)).map(({ error }) => error.message)).toEqual(["no luck"]);
    expect(told).toEqual(["failed 1 no luck", "completed 2"]);
  });

  it("fails the attempt of a handler that returns as if it had not been rolled back", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      await ctx.completeIn(tx, 1);
      tx.rollback();
      return 1;
    });
    const job = await here.jobs.get(id);
    expect(job).toMatchObject({ state: "dead", error: { code: "JOBWRIGHT_ROLLED_BACK" } });
    expect(job).not.toHaveProperty("result");
    expect(told).toEqual([
      expect.stringMatching(/^dead 1 The transaction in which job \d+ was completed did not/),
    ]);
  });

  it("snoozes the job when that is what a handler wants after a rollback", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      await ctx.completeIn(tx, 1);
      tx.rollback();
      return snooze("1h");
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "scheduled", attempt: 0, snoozes: 1 });
    expect(told).toEqual(["snoozed 1"]);
  });

  it("completes in another transaction after a rollback", async () => {
    const { told, id } = await runs(async (ctx) => {
      const first = new PretendedTransaction();
      await ctx.completeIn(first, "first");
      first.rollback();
      const second = new PretendedTransaction();
      await ctx.completeIn(second, "second");
      await second.commit();
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: "second" });
    expect(told).toEqual(["completed 1"]);
  });

  it("refuses to complete again what has committed, so that the second transaction is taken back", async () => {
    const { told, id } = await runs(async (ctx) => {
      const first = new PretendedTransaction();
      await ctx.completeIn(first, "first");
      await first.commit();
      await expect(ctx.completeIn(new PretendedTransaction(), "second")).rejects.toThrow(LeaseLostError);
      return "second";
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: "first" });
    expect(told).toEqual(["completed 1"]);
  });

  it("tells nothing of a job that is not kept but that it is completed", async () => {
    here = await world(kind, { defaults: { retention: { completed: 0 } } });
    const fleeting = defineJob({
      name: "fleeting",
      run: async (_payload, ctx) => {
        const tx = new PretendedTransaction();
        await ctx.completeIn(tx);
        await tx.commit();
      },
    });
    const { id } = await here.jobs.enqueue(fleeting, 0);
    const worker = here.jobs.worker([fleeting]);
    const told = ends(worker);
    await runUntilIdle(worker);
    expect(await here.jobs.get(id)).toBeUndefined();
    expect(told).toEqual(["completed 1"]);
  });

  it("does not let a beat that misses the lease abort what is done after the commit", async () => {
    here = await world(kind, { beatEvery: "5ms", lostAfter: "10s" });
    const { faults, jobs } = here;
    let aborted: unknown;
    const tidy = defineJob({
      name: "tidy",
      run: async (_payload, ctx) => {
        const tx = new PretendedTransaction();
        await ctx.completeIn(tx, "done");
        await tx.commit();
        await faults.called("beat", (faults.calls.get("beat") ?? 0) + 3);
        aborted = ctx.signal.aborted;
      },
    });
    const { id } = await jobs.enqueue(tidy, 0);
    const worker = jobs.worker([tidy]);
    const told = ends(worker);
    await worker.start();
    await until(async () => told.length > 0);
    await worker.stop();
    expect(aborted).toBe(false);
    expect(told).toEqual(["completed 1"]);
    expect((await jobs.get(id))?.result).toBe("done");
  });

  it("finds out in the end what a storage that fails for a while cannot say at once", async () => {
    const { told, id } = await runs(async (ctx) => {
      const tx = new PretendedTransaction();
      await ctx.completeIn(tx, 1);
      await tx.commit();
      here.faults.plan("get", { kind: "reject" }, 2);
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "completed", result: 1 });
    expect(told).toEqual(["completed 1"]);
  });

  it("settles what was rolled back also when the storage fails for a while", async () => {
    const { told, id } = await runs(async (ctx) => {
      await ctx.completeIn(new PretendedTransaction(), 1);
      here.faults.plan("settle", { kind: "commit-then-reject" }, 1);
      throw new Error("no luck");
    });
    expect(await here.jobs.get(id)).toMatchObject({ state: "dead", attempt: 1 });
    expect(told).toEqual(["dead 1 no luck"]);
  });

  it("waits for no verdict on other jobs", async () => {
    here = await world(kind);
    const { faults, jobs } = here;
    const open = gate();
    const slow = defineJob({
      name: "slow",
      maxRetries: 0,
      run: async (_payload, ctx) => {
        await ctx.completeIn(new PretendedTransaction(), 1);
        // As if its transaction were still open: the settle waits for it.
        faults.plan("settle", { kind: "delay", until: open.promise }, 1);
        throw new Error("left it open");
      },
    });
    const quick = defineJob({ name: "quick", run: () => "quick" });
    const { id } = await jobs.enqueue(slow, 0);
    const worker = jobs.worker([slow, quick]);
    const told = ends(worker);
    await worker.start();
    await faults.called("settle", 1);
    for (let i = 0; i < 5; i += 1) {
      const handle = await jobs.enqueue(quick, i);
      expect(await handle.result({ timeout: "1m" })).toBe("quick");
    }
    expect((await jobs.get(id))?.state).toBe("running");
    open.open();
    await until(() => told.some((line) => line.startsWith("dead")));
    await worker.stop();
    expect((await jobs.get(id))?.state).toBe("dead");
    expect(told.filter((line) => line.startsWith("completed"))).toHaveLength(5);
  });

  it("takes a completion that is under way when the handler returns into account", async () => {
    let refused: unknown;
    const { told, id } = await runs((ctx) => {
      const tx = new PretendedTransaction();
      void ctx.completeIn(tx, "late").then(
        () => tx.commit(),
        (error: unknown) => (refused = error),
      );
    });
    // Which of the two was first is open, but not that there was one end.
    const job = await here.jobs.get(id);
    expect(refused === undefined || refused instanceof LeaseLostError).toBe(true);
    expect(["completed", "dead"]).toContain(job?.state);
    expect(told).toEqual([expect.stringMatching(job?.state === "completed" ? /^completed 1$/ : /^dead 1 /)]);
  });

  it("gives the job back when the worker stops while its transaction is open", async () => {
    here = await world(kind);
    const { jobs } = here;
    const written = gate();
    const endless = defineJob({
      name: "endless",
      run: async (_payload, ctx) => {
        await ctx.completeIn(new PretendedTransaction(), 1);
        written.open();
        await new Promise(() => undefined);
      },
    });
    const { id } = await jobs.enqueue(endless, 0);
    const worker = jobs.worker([endless]);
    const told = ends(worker);
    await worker.start();
    await written.promise;
    await worker.stop({ timeout: 0 });
    expect(await jobs.get(id)).toMatchObject({ state: "available", attempt: 0, releases: 1 });
    expect(told).toEqual(["released 1"]);
  });
});

describe.each(storages.filter(({ label }) => label !== "postgres"))(
  "without transactions, on $label",
  (kind) => {
    it("jobs.in(tx) and ctx.completeIn(tx) say what they need", async () => {
      await using here = await world(kind);
      expect(() => here.jobs.in({})).toThrow(StateError);
      expect(() => here.jobs.in({})).toThrow(
        /^jobs\.in\(tx\) needs jobs that are stored in PostgreSQL.*these are in /s,
      );
      let refused: unknown;
      const hopeful = defineJob({
        name: "hopeful",
        run: async (_payload, ctx) => {
          refused = await ctx.completeIn({}, 1).catch((error: unknown) => error);
          return "as usual";
        },
      });
      const handle = await here.jobs.enqueue(hopeful, 0);
      await runUntilIdle(here.jobs.worker([hopeful]));
      expect(refused).toBeInstanceOf(StateError);
      expect(await handle.result({ timeout: "1m" })).toBe("as usual");
    });
  },
);
