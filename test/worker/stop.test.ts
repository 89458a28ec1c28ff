import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import {
  defineJob,
  type JobContext,
  json,
  LeaseLostError,
  ShutdownError,
  snooze,
  StateError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

describe.each(storages)("starting and stopping a worker on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  const echo = defineJob({ name: "echo", run: (payload) => payload });
  /** Runs until its gate opens, or until its signal fires when it listens. */
  function held(listens: boolean) {
    const inside = gate<AbortSignal>();
    const leave = gate();
    let runs = 0;
    const job = defineJob({
      name: "held",
      run: async (_payload, ctx) => {
        runs += 1;
        inside.open(ctx.signal);
        const fired = new Promise<never>((_resolve, reject) =>
          ctx.signal.addEventListener("abort", () => listens && reject(ctx.signal.reason)),
        );
        await Promise.race([leave.promise, fired]);
        return "done";
      },
    });
    return { job, inside, leave, runs: () => runs };
  }

  it("starts once, stops once, and never again", async () => {
    here = await world(kind);
    const worker = here.jobs.worker([echo]);
    const events: string[] = [];
    for (const name of ["registered", "stopping", "stopped"] as const)
      worker.on(name, () => events.push(name));
    expect(worker.processId).toBe("");
    await Promise.all([worker.start(), worker.start()]);
    await worker.start();
    expect(await here.jobs.processes()).toMatchObject([{ id: worker.processId }]);
    await Promise.all([worker.stop(), worker.stop()]);
    await worker.stop();
    expect(events).toEqual(["registered", "stopping", "stopped"]);
    await expect(worker.start()).rejects.toThrow(StateError);
    await expect(runUntilIdle(worker)).rejects.toThrow(StateError);
    expect(await here.jobs.processes()).toEqual([]);
  });

  it("can be stopped before it was started, and while it starts", async () => {
    here = await world(kind);
    const unstarted = here.jobs.worker([echo]);
    await unstarted.stop();
    await expect(unstarted.start()).rejects.toThrow(StateError);
    const slow = gate();
    here.faults.plan("beat", { kind: "delay", until: slow.promise });
    const handle = await here.jobs.enqueue(echo, 1);
    const starting = here.jobs.worker([echo]);
    const started = starting.start();
    await here.faults.called("beat", 1);
    const stopped = starting.stop();
    slow.open();
    await Promise.all([started, stopped]);
    await turns(50);
    expect((await handle.get())?.state).toBe("available");
    expect(await here.jobs.processes()).toEqual([]);
  });

  it("waits for running handlers, and starts none meanwhile", async () => {
    here = await world(kind);
    const { job, inside, leave, runs } = held(false);
    const [first, second] = await here.jobs.enqueueMany(job, [1, 2]);
    const worker = here.jobs.worker([job], { concurrency: 1, pollInterval: 10 });
    await worker.start();
    const signal = await inside.promise;
    const stopping = worker.stop();
    let stopped = false;
    void stopping.then(() => (stopped = true));
    await turns(50);
    expect([stopped, signal.aborted, runs()]).toEqual([false, false, 1]);
    leave.open();
    await stopping;
    expect(await first?.get()).toMatchObject({ state: "completed", result: "done", attempt: 1 });
    expect(await second?.get()).toMatchObject({ state: "available", attempt: 0 });
    expect(runs()).toBe(1);
    expect(signal.aborted).toBe(false);
  });

  it("aborts at its timeout and gives back what is left, unspent and claimable at once", async () => {
    here = await world(kind);
    const polite = held(true);
    const deaf = held(false);
    const deafJob = defineJob({ name: "deaf", run: deaf.job.run as never });
    const [politeHandle] = await here.jobs.enqueueMany(polite.job, [1]);
    const deafHandle = await here.jobs.enqueue(deafJob as never, 1 as never);
    const worker = here.jobs.worker([polite.job, deafJob as never]);
    const released: string[] = [];
    worker.on("released", ({ name }) => released.push(name));
    await worker.start();
    const signals = await Promise.all([polite.inside.promise, deaf.inside.promise]);
    await worker.stop({ timeout: 20 });
    for (const signal of signals) expect(signal.reason).toBeInstanceOf(ShutdownError);
    expect(released.sort()).toEqual(["deaf", "held"]);
    for (const handle of [politeHandle, deafHandle]) {
      expect(await handle?.get()).toMatchObject({ state: "available", attempt: 0, releases: 1 });
      expect(await here.jobs.attempts(handle?.id ?? "")).toEqual([]);
    }
    // Another worker takes them at once: no lease has to run out first.
    polite.leave.open();
    deaf.leave.open();
    const next = (await here.another()).worker([polite.job, deafJob as never]);
    expect(await runUntilIdle(next)).toBe(2);
    await turns();
    // What the deaf handler of the first worker returned in the end has changed nothing.
    expect(await deafHandle.get()).toMatchObject({ state: "completed", attempt: 1 });
  });

  it("hurries when told a second time, however soon", async () => {
    for (const turnsBetween of [0, 1, 30]) {
      here = await world(kind);
      const { job, inside } = held(true);
      await here.jobs.enqueue(job, 1);
      const worker = here.jobs.worker([job], { shutdownTimeout: "10d" });
      await worker.start();
      await inside.promise;
      const first = worker.stop();
      await turns(turnsBetween);
      const second = worker.stop({ timeout: 0 });
      await Promise.all([first, second]);
      expect((await here.jobs.count({ state: "available" })).n).toBe(1);
      await here[Symbol.asyncDispose]();
    }
    here = await world(kind);
    const { job, inside } = held(true);
    await here.jobs.enqueue(job, 1);
    const worker = here.jobs.worker([job], { shutdownTimeout: "10d" });
    await worker.start();
    await inside.promise;
    void worker.stop();
    await worker.stop({ timeout: 15 });
    expect((await here.jobs.count({ state: "available" })).n).toBe(1);
  });

  it("does not take a very long timeout for none", async () => {
    here = await world(kind);
    const { job, inside, leave } = held(true);
    const handle = await here.jobs.enqueue(job, 1);
    const worker = here.jobs.worker([job]);
    await worker.start();
    const signal = await inside.promise;
    // Beyond what setTimeout can take: unclamped it would fire at once.
    const stopping = worker.stop({ timeout: "60d" });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(signal.aborted).toBe(false);
    leave.open();
    await stopping;
    expect(await handle.get()).toMatchObject({ state: "completed" });
  });

  it("waits for the claim in flight and gives its jobs back; none of them starts", async () => {
    here = await world(kind);
    const late = gate();
    here.faults.plan("exchange", { kind: "late-answer", until: late.promise });
    let runs = 0;
    const job = defineJob({ name: "counted", run: () => void (runs += 1) });
    const handles = await here.jobs.enqueueMany(job, [1, 2, 3]);
    const worker = here.jobs.worker([job]);
    await worker.start();
    await until(async () => (await here.jobs.count({ state: "running" })).n === 3);
    const stopping = worker.stop({ timeout: 0 });
    await turns(50);
    late.open();
    await stopping;
    expect(runs).toBe(0);
    for (const handle of handles) {
      expect(await handle.get()).toMatchObject({ state: "available", attempt: 0, releases: 1 });
    }
    expect(await here.jobs.processes()).toEqual([]);
    // Not marked either: nobody has to suspect them.
    const next = here.jobs.worker([job]);
    expect(await runUntilIdle(next)).toBe(3);
  });

  it("finds out about a claim whose answer was lost before it leaves", async () => {
    here = await world(kind);
    here.faults.plan("exchange", { kind: "commit-then-reject" });
    const job = defineJob({ name: "counted", run: () => 1 });
    const handles = await here.jobs.enqueueMany(job, [1, 2]);
    const worker = here.jobs.worker([job]);
    const failed = once(worker, "storageError");
    await worker.start();
    await failed;
    await worker.stop();
    for (const handle of handles) expect(await handle.get()).toMatchObject({ attempt: 0 });
    expect((await here.jobs.count({ state: "running" })).n).toBe(0);
  });

  it("gives back, while the storage fails, as soon as it works again", async () => {
    here = await world(kind);
    const { job, inside, leave } = held(false);
    const handle = await here.jobs.enqueue(job, 1);
    const worker = here.jobs.worker([job]);
    await worker.start();
    await inside.promise;
    here.faults.plan("exchange", { kind: "reject" }, 4);
    leave.open();
    await once(worker, "storageError");
    await worker.stop();
    expect(await handle.get()).toMatchObject({ state: "completed", result: "done" });
  });

  it("settles what a handler decides while the worker stops", async () => {
    here = await world(kind);
    const inside = gate();
    const leave = gate();
    const moody = defineJob({
      name: "moody",
      payload: json<string>(),
      run: async (what) => {
        inside.open();
        await leave.promise;
        if (what === "throw") throw new Error("failed on its own");
        return what === "snooze" ? snooze("1h") : what;
      },
    });
    const [value, failed, snoozed] = await here.jobs.enqueueMany(moody, ["value", "throw", "snooze"]);
    const worker = here.jobs.worker([moody]);
    await worker.start();
    await inside.promise;
    await until(() => worker.running === 3);
    const stopping = worker.stop();
    leave.open();
    await stopping;
    expect(await value?.get()).toMatchObject({ state: "completed" });
    expect(await failed?.get()).toMatchObject({ state: "scheduled", attempt: 1 });
    expect(await snoozed?.get()).toMatchObject({ state: "scheduled", attempt: 0, snoozes: 1 });
  });

  it("tells handlers that their leases are gone, while it stops too", async () => {
    here = await world(kind, { lostAfter: kind.lostAfter });
    const { job, inside } = held(true);
    await here.jobs.enqueue(job, 1);
    const worker = here.jobs.worker([job], { shutdownTimeout: "1h" });
    await worker.start();
    const signal = await inside.promise;
    here.faults.plan("beat", { kind: "reject" }, 1_000);
    const fenced = once(worker, "fenced");
    await Promise.all([worker.stop(), fenced]);
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
  });

  it("stops by itself when its storage is closed under it", async () => {
    here = await world(kind, { lostAfter: kind.lostAfter });
    const { job, inside } = held(true);
    await here.jobs.enqueue(job, 1);
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    const signal = await inside.promise;
    const stopped = once(worker, "stopped");
    await here.faults.storage.close();
    await stopped;
    expect(signal.aborted).toBe(true);
    const lines = here.lines.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(here.lines.length - lines).toBeLessThan(3);
  });

  // Guards: it tried to register in an endless loop that let nothing else of the process have its turn.
  it("stops by itself when its storage is closed while nobody believes in it", async () => {
    here = await world(kind, { lostAfter: kind.lostAfter });
    const worker = here.jobs.worker([echo], { pollInterval: 10 });
    await worker.start();
    here.faults.plan("beat", { kind: "reject" }, 1_000);
    await once(worker, "fenced");
    const stopped = once(worker, "stopped");
    await here.faults.storage.close();
    here.faults.heal();
    await stopped;
    await expect(worker.start()).rejects.toThrow(StateError);
  });

  it("is disposed at the end of its block, and with its jobs", async () => {
    here = await world(kind);
    const worker = here.jobs.worker([echo]);
    {
      await using scoped = worker;
      await scoped.start();
    }
    expect(await here.jobs.processes()).toEqual([]);
    const other = here.jobs.worker([echo]);
    await other.start();
    await here.jobs[Symbol.asyncDispose]();
    await expect(other.start()).rejects.toThrow(StateError);
  });

  describe("state", () => {
    it("is made once, shared by all handlers, and disposed after the last one", async () => {
      here = await world(kind);
      const log: string[] = [];
      const leave = gate();
      const uses = defineJob({
        name: "uses",
        run: async (_payload, ctx: JobContext<{ n: number }>) => {
          ctx.state.n += 1;
          await leave.promise;
          log.push(`run ${ctx.state.n}`);
        },
      });
      await here.jobs.enqueueMany(uses, [1, 2]);
      let made = 0;
      const worker = here.jobs.worker([uses], {
        state: async (jobs) => {
          expect(jobs).toBe(here.jobs);
          made += 1;
          return {
            n: 0,
            [Symbol.asyncDispose]: async () => {
              await undefined;
              log.push("disposed");
            },
          };
        },
      });
      await worker.start();
      await until(() => worker.running === 2);
      const stopping = worker.stop();
      leave.open();
      await stopping;
      await worker.stop();
      expect(log).toEqual(["run 2", "run 2", "disposed"]);
      expect(made).toBe(1);
    });

    it("that throws makes the start reject, and the start can be tried again", async () => {
      here = await world(kind);
      let tries = 0;
      const worker = here.jobs.worker([echo], {
        state: () => {
          tries += 1;
          if (tries === 1) throw new Error("not yet");
          return {};
        },
      });
      await expect(worker.start()).rejects.toThrow("not yet");
      expect(await here.jobs.processes()).toEqual([]);
      // The storage fails the second time: the state is there already and is not made again.
      here.faults.plan("beat", { kind: "reject" });
      await expect(worker.start()).rejects.toThrow("planned");
      await worker.start();
      expect(tries).toBe(2);
      const handle = await here.jobs.enqueue(echo, 5);
      expect(await handle.result({ timeout: "20s" })).toBe(5);
      await worker.stop();
    });

    it("that cannot be disposed is told to who stops, and the worker has stopped all the same", async () => {
      here = await world(kind);
      const worker = here.jobs.worker([echo], {
        state: () => ({ [Symbol.asyncDispose]: () => Promise.reject(new Error("stuck")) }),
      });
      await worker.start();
      const stopped = once(worker, "stopped");
      await expect(worker.stop()).rejects.toThrow("stuck");
      await stopped;
      expect(await here.jobs.processes()).toEqual([]);
    });
  });
});
