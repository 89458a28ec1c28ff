// Goal: whatever a handler does in its thread, it harms its own attempt only: that fails with its reason, its slot
// is free, its neighbours go on, and the process beats.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { defineJob, fixed, type Job, json, limits } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { size } from "../support/size.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { gate, until, type World, world } from "../support/world.ts";

interface Act {
  readonly act: string;
  readonly more?: unknown;
}

const thread = new URL("./thread-handlers/acts.ts", import.meta.url);
const acts = defineJob({
  ...{ name: "acts", payload: json<Act>(), thread },
  ...{ maxRetries: 0, timeout: "10s", threadMemoryMb: 64 },
});
const [memory] = storages as [StorageKind];

beforeAll(async () => {
  // The sources are compiled for threads once, and kept: not by several threads of a test at once.
  const warm = await world(memory);
  const roomy = defineJob({ name: "roomy", payload: json<Act>(), thread });
  await warm.jobs.enqueue(roomy, { act: "return" });
  await runUntilIdle(warm.jobs.worker([roomy]));
  await warm[Symbol.asyncDispose]();
});

let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

const said = (message: string): number => here.lines.filter((line) => line.message === message).length;

describe("a thread that dies", () => {
  it("fails its attempt with the reason; its neighbours in threads and in the main thread go on", async () => {
    here = await world(memory);
    const deaths = ["exit", "exit in a callback", "throw in a callback", "reject unheard", "memory bomb"];
    const beside = defineJob({ name: "beside", run: () => "fine" });
    const worker = here.jobs.worker([acts, beside], { threads: 3 });
    const neighbour = await here.jobs.enqueue(acts, { act: "until the signal" });
    await worker.start();
    await until(() => said("waits") === 1);
    const handles = await here.jobs.enqueueMany(
      acts,
      deaths.map((act) => ({ act })),
    );
    const others = [await here.jobs.enqueue(acts, { act: "return" }), await here.jobs.enqueue(beside, 0)];
    const jobs = await ends(handles);
    expect(jobs.map(({ state, error }) => `${state} ${error?.name} ${error?.code}`)).toEqual(
      deaths.map(() => "dead ThreadDiedError JOBWRIGHT_THREAD_DIED"),
    );
    const [exit, callback, threw, rejected, bomb] = jobs.map(({ error }) => error);
    expect(exit?.message).toMatch(/exited with code 7.*process\.exit/);
    expect(callback?.message).toMatch(/exited with code 0/);
    expect(threw).toMatchObject({
      message: expect.stringMatching(/outside of the handler/),
      cause: { message: "from a callback" },
    });
    expect(rejected?.cause?.message).toBe("nobody listens");
    expect(bomb?.message).toMatch(/more than its 64 MiB.*threadMemoryMb/);
    for (const job of await ends(others)) expect(job.state).toBe("completed");
    // Undisturbed all the time, and still within reach.
    expect((await neighbour.get())?.state).toBe("running");
    await neighbour.cancel("enough");
    expect((await ends([neighbour]))[0]).toMatchObject({ state: "cancelled", reason: "enough" });
    await worker.stop();
  });

  it("has the memory that its definition says", async () => {
    here = await world(memory);
    const roomy = defineJob({ name: "roomy", payload: json<Act>(), thread, threadMemoryMb: 300 });
    const hold = { act: "hold", more: 100 };
    const [tight] = await here.jobs.enqueueMany(acts, [hold]);
    const [fits] = await here.jobs.enqueueMany(roomy, [hold]);
    await runUntilIdle(here.jobs.worker([acts, roomy]));
    expect((await tight?.get())?.error?.message).toMatch(/more than its 64 MiB/);
    expect(await fits?.get()).toMatchObject({ state: "completed" });
  });

  it("is replaced as often as it dies", async () => {
    here = await world(memory);
    const n = size(3, 30);
    const deadly = await here.jobs.enqueueMany(
      acts,
      Array.from({ length: n }, () => ({ act: "exit" })),
    );
    const fine = await here.jobs.enqueueMany(
      acts,
      Array.from({ length: n }, () => ({ act: "return" })),
    );
    const worker = here.jobs.worker([acts], { threads: 1 });
    expect(await runUntilIdle(worker)).toBe(2 * n);
    expect((await ends(deadly)).every(({ state }) => state === "dead")).toBe(true);
    expect((await ends(fine)).every(({ state }) => state === "completed")).toBe(true);
  });
});

describe("a run in a thread that does not end", () => {
  it.each([
    ["endless loop", "30s", 500],
    ["never", "30s", 500],
    ["endless loop", "100ms", 100],
  ] as const)(
    "is ended with its thread after its timeout: %s, grace %s",
    async (act, timeoutGrace, graceMs) => {
      here = await world(memory);
      const stuck = await here.jobs.enqueue(acts, { act });
      const next = await here.jobs.enqueue(acts, { act: "return" });
      const worker = here.jobs.worker([acts], { concurrency: 1, timeoutGrace, pollInterval: 20 });
      const overdue: unknown[] = [];
      worker.on("overdue", (about) => overdue.push(about));
      await worker.start();
      await until(() => said("loops") === 1);
      await here.clock.advance(10_000 + graceMs - 1);
      expect((await stuck.get())?.state).toBe("running");
      await here.clock.advance(1);
      // The slot is free, so the next one runs.
      const [dead, done] = await ends([stuck, next]);
      expect(dead).toMatchObject({ state: "dead", attempt: 1, error: { name: "TimeoutError" } });
      expect(done).toMatchObject({ state: "completed" });
      expect(overdue).toEqual([]);
      await worker.stop();
    },
  );

  it("is ended when it ignores that it is cancelled, after the usual grace", async () => {
    here = await world(memory);
    const job = defineJob({
      name: "unbounded",
      payload: json<Act>(),
      thread,
      timeout: Number.POSITIVE_INFINITY,
    });
    const stuck = await here.jobs.enqueue(job, { act: "endless loop" });
    const worker = here.jobs.worker([job], { timeoutGrace: "20s" });
    await worker.start();
    await until(() => said("loops") === 1);
    const before = here.faults.calls.get("claim") ?? 0;
    expect(await stuck.cancel("no more")).toBe("asked");
    // The second question after the cancel to begin shows that the first has been answered.
    await here.faults.called("claim", before + 2);
    await here.clock.advance(19_999);
    expect((await stuck.get())?.state).toBe("running");
    await here.clock.advance(1);
    expect((await ends([stuck]))[0]).toMatchObject({ state: "cancelled", reason: "no more" });
    await worker.stop();
  });

  it("is ended when its lease is lost, so that the job can run again", async () => {
    here = await world(memory, { lostAfter: memory.lostAfter });
    const job = defineJob({ name: "again", payload: json<Act>(), thread, backoff: fixed(0) });
    const handle = await here.jobs.enqueue(job, { act: "loop at first" });
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    await until(() => said("loops") === 1);
    const fenced = new Promise((resolve) => worker.once("fenced", resolve));
    here.faults.plan("beat", { kind: "reject" }, 1_000);
    await fenced;
    here.faults.heal();
    // While its own earlier run went on in this process, the job would be put off for ever.
    const idle = setInterval(() => void here.clock.advance("6s"), 20);
    try {
      expect(await handle.result({ timeout: "30s" })).toBe("attempt 2");
    } finally {
      clearInterval(idle);
    }
    await worker.stop();
  });

  it("goes back unspent when the worker stops, and keeps no stop waiting", async () => {
    here = await world(memory);
    const handles = await here.jobs.enqueueMany(acts, [{ act: "endless loop" }, { act: "until the signal" }]);
    const worker = here.jobs.worker([acts], { threads: 2 });
    await worker.start();
    await until(() => said("loops") === 1 && said("waits") === 1);
    await worker.stop({ timeout: 0 });
    const jobs = await Promise.all(handles.map((handle) => handle.get()));
    for (const job of jobs) expect(job).toMatchObject({ state: "available", attempt: 0 });
  });
});

describe("a worker that stops", () => {
  it("takes its threads with it, idle ones too", async () => {
    here = await world(memory);
    const before = threadsNow();
    await here.jobs.enqueueMany(acts, [{ act: "return" }, { act: "endless loop" }]);
    const worker = here.jobs.worker([acts], { threads: 2 });
    await worker.start();
    await until(async () => said("loops") === 1 && worker.running === 1);
    expect(threadsNow() - before).toBeGreaterThan(0);
    await worker.stop({ timeout: 0 });
    // Ended ones are listed for a moment longer; by themselves idle ones would stay for half a minute.
    const deadline = performance.now() + 15_000;
    await until(() => threadsNow() <= before || performance.now() > deadline);
    expect(threadsNow()).toBeLessThanOrEqual(before);
  });

  function threadsNow(): number {
    return (process.report.getReport() as unknown as { workers: unknown[] }).workers.length;
  }
});

describe("the signal in a thread", () => {
  it("fires with the reason's own class; a throw then ends the run, a value after a cancel still wins", async () => {
    here = await world(memory);
    const waits = { act: "until the signal" };
    const names = async (): Promise<unknown[]> =>
      here.lines.filter(({ message }) => message === "heard").map(({ details }) => details?.["is"]);
    const worker = here.jobs.worker([acts], { threads: 4, pollInterval: 20 });
    await worker.start();
    const late = await here.jobs.enqueue(acts, waits, { timeout: "5s" });
    await until(() => said("waits") === 1);
    await here.clock.advance("5s");
    expect((await ends([late]))[0]).toMatchObject({ state: "dead", error: { name: "TimeoutError" } });

    const [throws, wins] = await here.jobs.enqueueMany(acts, [waits, { act: "value after the signal" }]);
    await until(() => said("waits") === 3);
    await throws?.cancel("why not");
    await wins?.cancel("too late");
    const [cancelled, won] = await ends([throws, wins]);
    expect(cancelled).toMatchObject({ state: "cancelled", reason: "why not" });
    expect(won).toMatchObject({ state: "completed", result: "made it" });

    const held = await here.jobs.enqueue(acts, waits);
    await until(() => said("waits") === 4);
    await worker.stop({ timeout: 0 });
    expect(await held.get()).toMatchObject({ state: "available", attempt: 0 });
    expect(await names()).toEqual(["TimeoutError", "CancelledError", "ShutdownError"]);
  });
});

describe("a flood from a thread", () => {
  /** What the handler waits for, and not what is kept of its log lines. */
  const isCall = ([, note]: readonly unknown[]): boolean => !("log" in (note as object));

  it("is bounded where it begins: log lines, calls, and the pool's own port", async () => {
    here = await world(memory);
    const n = size(20_000, 400_000);
    const worker = here.jobs.worker([acts], { threads: 3 });
    await worker.start();
    const storageAnswers = gate();
    here.faults.plan(
      "note",
      { kind: "late-answer", until: storageAnswers.promise },
      Number.POSITIVE_INFINITY,
      isCall,
    );
    const [lines, calls, port] = await here.jobs.enqueueMany(acts, [
      { act: "flood the log", more: n },
      { act: "flood with calls", more: size(500, 10_000) },
      { act: "flood the pool's port", more: n },
    ]);
    // The storage answers no note, so all calls stay open that may be.
    await until(() => here.faults.args("note").filter(isCall).length === limits.threadCalls);
    const [logged, refused] = await ends([lines, port]);
    expect(here.faults.args("note").filter(isCall)).toHaveLength(limits.threadCalls);
    storageAnswers.open();
    const [called] = await ends([calls]);
    expect([logged, called].map((job) => job?.state)).toEqual(["completed", "completed"]);
    expect(refused?.error).toMatchObject({ name: "StateError", message: expect.stringMatching(/ctx\.log/) });
    const heard = here.lines.filter(({ message }) => message.startsWith("line "));
    const leftOut = here.lines.flatMap(
      ({ message }) => /^(\d+) more lines left out/.exec(message)?.[1] ?? [],
    );
    expect(heard.length).toBeLessThanOrEqual(limits.threadLogLines * (leftOut.length + 1));
    // Nothing is lost without a word.
    expect(leftOut.reduce((sum, count) => sum + Number(count), 0)).toBe(n - heard.length);
    await worker.stop();
  });

  it("and threads that burn their processors keep no heartbeat from its time", async () => {
    here = await world(memory, { beatEvery: 50, lostAfter: "5s" });
    const worker = here.jobs.worker([acts], { threads: 3 });
    const trouble: unknown[] = [];
    worker.on("fenced", (about) => trouble.push(about));
    worker.on("blocked", (about) => trouble.push(about));
    await worker.start();
    await here.jobs.enqueueMany(acts, [
      { act: "endless loop" },
      { act: "endless loop" },
      { act: "flood without end" },
    ]);
    await until(() => said("loops") === 2);
    const before = here.faults.calls.get("beat") ?? 0;
    await here.faults.called("beat", before + size(6, 100));
    expect(trouble).toEqual([]);
    expect(here.faults.calls.get("note")).toBeGreaterThan(100);
    await worker.stop({ timeout: 0 });
  });
});

/** The jobs once they have ended. */
async function ends(handles: readonly ({ readonly id: string } | undefined)[]): Promise<Job[]> {
  return Promise.all(
    handles.map(async (handle) => {
      let job: Job | undefined;
      await until(async () => {
        job = await here.jobs.get(handle?.id ?? "");
        return job === undefined || ["completed", "dead", "cancelled"].includes(job.state);
      });
      return job as Job;
    }),
  );
}
