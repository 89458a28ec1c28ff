import { afterEach, describe, expect, it } from "vitest";
import {
  defineJob,
  fixed,
  implement,
  item,
  json,
  type Middleware,
  snooze,
  StateError,
  UnrecoverableError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { guarded, keyed } from "./thread-handlers/definitions.ts";
import { turns, until, type World, world } from "../support/world.ts";

const memory = storages[0] as StorageKind;
let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

/** Says when it is entered and left. */
function traced(said: string[], name: string): Middleware {
  return {
    async enqueue(_item, next) {
      said.push(`${name} >`);
      try {
        const enqueued = await next();
        said.push(`${name} < ${enqueued.status}`);
        return enqueued;
      } catch (error) {
        said.push(`${name} ! ${(error as Error).message}`);
        throw error;
      }
    },
    async run(_ctx, next) {
      said.push(`${name} [`);
      try {
        return await next();
      } finally {
        said.push(`${name} ]`);
      }
    },
  };
}

describe("middleware around enqueues", () => {
  it("stands in the order of an onion: connect's outside, then the definition's", async () => {
    const said: string[] = [];
    here = await world(memory, { middleware: [traced(said, "a"), traced(said, "b")] });
    const job = defineJob({ name: "job", middleware: [traced(said, "c")], run: () => void said.push("run") });
    await here.jobs.enqueue(job, 1);
    expect(said.splice(0)).toEqual(["a >", "b >", "c >", "c < created", "b < created", "a < created"]);
    await runUntilIdle(here.jobs.worker([job]));
    expect(said).toEqual(["a [", "b [", "c [", "run", "c ]", "b ]", "a ]"]);
  });

  it("sees and changes payload and options, and the checks come after it", async () => {
    const stamp: Middleware = {
      enqueue: (one, next) =>
        next({ payload: { ...(one.payload as object), by: "me" }, options: { ...one.options, tags: ["t"] } }),
    };
    here = await world(memory, { middleware: [stamp] });
    const job = defineJob({
      name: "job",
      payload: json<object>(),
      queue: ({ by }: { by?: string }) => `q-${by}`,
    });
    const handle = await here.jobs.enqueue(job, { a: 1 }, { priority: 3 });
    expect(await handle.get()).toMatchObject({
      payload: { a: 1, by: "me" },
      tags: ["t"],
      queue: "q-me",
      priority: 3,
    });
    const spoil = defineJob({
      name: "spoil",
      middleware: [{ enqueue: (_one, next) => next({ payload: 1n }) }],
    });
    await expect(here.jobs.enqueue(spoil, {})).rejects.toThrow('The payload of "spoil" is invalid.');
    const oddly = defineJob({
      name: "oddly",
      middleware: [{ enqueue: (_one, next) => next({ options: { priority: 0.5 } }) }],
    });
    await expect(here.jobs.enqueue(oddly, {})).rejects.toThrow("priority is 0.5.");
  });

  it("stands around each job of a call, which is still stored whole or not at all", async () => {
    const said: string[] = [];
    here = await world(memory, { middleware: [traced(said, "a")] });
    const { jobs } = here;
    const strict = defineJob({
      name: "strict",
      payload: json<number>(),
      middleware: [
        {
          async enqueue(one, next) {
            if (one.payload === 13) throw new TypeError("not 13");
            return next();
          },
        },
      ],
    });
    const plain = defineJob({ name: "plain", payload: json<number>() });
    const handles = await jobs.enqueueMany([item(strict, 1), item(plain, 13), item(strict, 2)]);
    expect(handles.map(({ status }) => status)).toEqual(["created", "created", "created"]);
    const ids = handles.map(({ id }) => Number(id));
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(here.faults.calls.get("enqueue")).toBe(1);
    await expect(jobs.enqueueMany(strict, [3, 13, 4])).rejects.toThrow(new TypeError("not 13"));
    expect((await jobs.count()).n).toBe(3);
    // The others heard of it: nobody waits for ever.
    expect(said.filter((one) => one.endsWith(">"))).toHaveLength(6);
    await until(() => said.filter((one) => one === "a ! not 13").length === 3);
    expect(await jobs.enqueueMany(strict, [])).toEqual([]);
  });

  it("cannot make a job of none, nor two of one, nor pass over a refusal", async () => {
    here = await world(memory);
    const wrong = (enqueue: Required<Middleware>["enqueue"]): Promise<unknown> =>
      here.jobs.enqueue(defineJob({ name: "job", middleware: [{ enqueue }] }), 1);
    const made = { id: "1", created: true, status: "created" } as const;
    await expect(wrong(() => Promise.resolve(made))).rejects.toThrow("called next() not at all");
    const twice = wrong(async (_one, next) => {
      await next();
      return next();
    });
    await expect(twice).rejects.toThrow(StateError);
    await expect(twice).rejects.toThrow('the enqueue of "job" called next() twice. Call it exactly once.');
    const { n } = await here.jobs.count();
    const swallowed = wrong((_one, next) => next({ payload: 1n }).catch(() => made));
    await expect(swallowed).rejects.toThrow("JSON has no BigInt");
    const outer: Middleware = { enqueue: (_one, next) => next().catch(() => made) };
    const inner: Middleware = { enqueue: () => Promise.reject(new Error("inner")) };
    const hidden = defineJob({ name: "job", middleware: [outer, inner] });
    await expect(here.jobs.enqueueMany([item(hidden, 1), item(defineJob({ name: "x" }), 1)])).rejects.toThrow(
      "answered for a job that is not stored",
    );
    expect((await here.jobs.count()).n).toBe(n);
  });
});

describe("middleware around runs", () => {
  it("sees the job, its signal and what the handler answered, and can answer something else", async () => {
    const seen: unknown[] = [];
    const look: Middleware = {
      async run(ctx, next) {
        const value = await next();
        seen.push([ctx.job.name, ctx.job.attempt, ctx.signal.aborted, value]);
        return ctx.job.name === "double" ? (value as number) * 2 : value;
      },
    };
    here = await world(memory, { middleware: [look] });
    const { jobs } = here;
    const double = defineJob({ name: "double", payload: json<number>(), run: (n) => n });
    const handle = await jobs.enqueue(double, 21);
    await runUntilIdle(jobs.worker([double]));
    expect(await handle.result({ timeout: "5s" })).toBe(42);
    expect(seen).toEqual([["double", 1, false, 21]]);
  });

  it("fails the attempt with what it throws, and can keep the handler from being called", async () => {
    let calls = 0;
    const run = (): number => (calls += 1);
    const unwilling = (how: Required<Middleware>["run"], name: string) =>
      defineJob({ name, maxRetries: 1, backoff: fixed(0), middleware: [{ run: how }], run });
    const throws = unwilling(() => Promise.reject(new RangeError("no")), "throws");
    const gives = unwilling(() => Promise.reject(new UnrecoverableError("never")), "gives-up");
    const waits = unwilling(() => snooze("1h"), "waits");
    const twice = unwilling(async (_ctx, next) => [await next(), await next()], "twice");
    const all = [throws, gives, waits, twice];
    here = await world(memory);
    const handles = await here.jobs.enqueueMany(all.map((one) => item(one, 1)));
    await runUntilIdle(here.jobs.worker(all));
    const [a, b, c, d] = await Promise.all(handles.map((one) => one.get()));
    expect(a).toMatchObject({ state: "dead", attempt: 2, error: { name: "RangeError" } });
    expect(b).toMatchObject({ state: "dead", attempt: 1, error: { message: "never" } });
    expect(c).toMatchObject({ state: "scheduled", snoozes: 1, attempt: 0 });
    expect(d).toMatchObject({
      state: "dead",
      error: { message: expect.stringContaining("twice") as string },
    });
    expect(calls).toBe(2);
  });

  it("does not end the run of a handler that it does not wait for, nor hide its failure", async () => {
    let isThrough = false;
    const hasty: Middleware = {
      run(_ctx, next) {
        void next();
        return "done already";
      },
    };
    const slow = defineJob({
      name: "slow",
      maxRetries: 0,
      middleware: [hasty],
      run: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        isThrough = true;
        throw new Error("it was not done");
      },
    });
    here = await world(memory);
    const handle = await here.jobs.enqueue(slow);
    await runUntilIdle(here.jobs.worker([slow]));
    expect(isThrough).toBe(true);
    expect(await handle.get()).toMatchObject({ state: "dead", error: { message: "it was not done" } });
  });

  it("is not asked about a payload that the schema refuses", async () => {
    const said: string[] = [];
    here = await world(memory);
    const strict = defineJob({
      name: "strict",
      payload: {
        "~standard": {
          version: 1,
          vendor: "test",
          validate: (value) => (value === 1 ? { value } : { issues: [{ message: "not one" }] }),
        },
      },
    });
    const loose = defineJob({ name: "strict" });
    await here.jobs.enqueue(loose, 2);
    const bound = implement(defineJob(strict, { name: "strict", middleware: [traced(said, "a")] }), () => 1);
    await runUntilIdle(here.jobs.worker([bound]));
    expect((await here.jobs.list({ state: "dead" })).jobs).toHaveLength(1);
    expect(said).toEqual([]);
  });
});

describe("one handler under several names", () => {
  it("shares handler and payload, and has its own options and more middleware", async () => {
    const said: string[] = [];
    here = await world(memory);
    const base = defineJob({
      name: "base",
      payload: json<number>(),
      queue: "slow",
      tags: ["t"],
      middleware: [traced(said, "outer")],
      run: (n, ctx) => `${ctx.job.name} ${n}`,
    });
    const other = defineJob(base, { name: "other", queue: "fast", middleware: [traced(said, "inner")] });
    const handles = [await here.jobs.enqueue(base, 1), await here.jobs.enqueue(other, 2)];
    expect((await handles[1]?.get()) ?? {}).toMatchObject({ queue: "fast", tags: ["t"] });
    said.splice(0);
    await runUntilIdle(here.jobs.worker([base, other], { queues: ["slow", "fast"] }));
    const results = await Promise.all(handles.map((one) => one.result({ timeout: "5s" })));
    expect(results).toEqual(["base 1", "other 2"]);
    expect(said.filter((one) => one.startsWith("inner"))).toEqual(["inner [", "inner ]"]);
    expect(() => defineJob(base, { name: "" })).toThrow('name is "".');
    expect(() => defineJob(base, { name: "x", run: () => 1 } as never)).toThrow(
      "run is a function. It is the base",
    );
    expect(() => defineJob({} as never, { name: "x" })).toThrow("Use what defineJob() returns");
  });
});

describe("setup", () => {
  it("prepares each run from its job, and what it made is disposed after the run", async () => {
    const said: unknown[] = [];
    here = await world(memory);
    const prepared = defineJob({
      name: "prepared",
      payload: json<{ tenant: string }>(),
      maxRetries: 1,
      backoff: fixed(0),
      async setup(job, ctx) {
        said.push(["setup", job.id, job.payload.tenant, job.attempt, ctx.setup]);
        return {
          tenant: job.payload.tenant,
          [Symbol.asyncDispose]: async () => void said.push("disposed"),
        };
      },
      run({ tenant }, ctx) {
        said.push(["run", ctx.setup.tenant === tenant]);
        if (ctx.job.attempt === 1) throw new Error("once more");
        return ctx.setup.tenant;
      },
    });
    const handle = await here.jobs.enqueue(prepared, { tenant: "a" });
    await runUntilIdle(here.jobs.worker([prepared]));
    expect(await handle.result({ timeout: "5s" })).toBe("a");
    const round = (attempt: number): unknown[] => [
      ["setup", handle.id, "a", attempt, undefined],
      ["run", true],
      "disposed",
    ];
    expect(said).toEqual([...round(1), ...round(2)]);
  });

  it("fails the attempt where it fails; disposing fails nothing", async () => {
    here = await world(memory);
    const { jobs } = here;
    let runs = 0;
    const options = { maxRetries: 0, run: () => (runs += 1) } as const;
    const broken = defineJob({
      ...options,
      name: "broken",
      setup: () => {
        throw new RangeError("no database");
      },
    });
    const untidy = defineJob({
      ...options,
      name: "untidy",
      setup: () => ({
        [Symbol.dispose]: () => {
          throw new Error("still open");
        },
      }),
    });
    const handles = [await jobs.enqueue(broken, 1), await jobs.enqueue(untidy, 1)];
    await runUntilIdle(jobs.worker([broken, untidy]));
    expect(await handles[0]?.get()).toMatchObject({ state: "dead", error: { name: "RangeError" } });
    expect(await handles[1]?.get()).toMatchObject({ state: "completed", result: 1 });
    const warned = here.lines.filter(({ message }) => message.includes("could not be disposed"));
    expect(warned.map(({ level, message }) => `${level} ${message}`)).toEqual([
      "warn what setup made could not be disposed: Error: still open",
    ]);
  });
});

describe("around handlers in threads", () => {
  const acts = (options: object) =>
    defineJob({
      name: "acts",
      payload: json<{ act: string }>(),
      maxRetries: 0,
      thread: new URL("thread-handlers/acts.ts", import.meta.url),
      ...options,
    });

  it("stands in the main thread, and hands every outcome on as it was", async () => {
    const seen: unknown[] = [];
    const look: Middleware = {
      async run(_ctx, next) {
        try {
          const value = await next();
          seen.push(value);
          return value;
        } catch (error) {
          seen.push((error as Error).name);
          throw error;
        }
      },
    };
    here = await world(memory, { middleware: [look] });
    const job = acts({});
    const names = ["return", "nothing", "unfit", "snooze", "cancel", "throw", "unrecoverable"];
    // Told by nothing but the end itself: how long to wait.
    const patient = defineJob(job, { name: "patient", maxRetries: 1 });
    const again = await here.jobs.enqueue(patient, { act: "retry after" });
    const handles = await here.jobs.enqueueMany(
      job,
      names.map((act) => ({ act })),
    );
    await runUntilIdle(here.jobs.worker([job, patient], { threads: 1 }));
    const runAt = new Date(here.clock.now() + 7 * 60_000);
    expect(await again.get()).toMatchObject({ state: "scheduled", attempt: 1, runAt });
    const ended = await Promise.all(handles.map((one) => one.get()));
    expect(ended.map((one) => one?.state)).toEqual([
      "completed",
      "completed",
      "completed",
      "scheduled",
      "cancelled",
      "dead",
      "dead",
    ]);
    expect(ended[0]?.result).toEqual({ from: "a thread", isMain: false });
    expect(ended[2]?.reason).toContain("JSON has no dates");
    expect(ended[5]?.error).toMatchObject({
      name: "TypeError",
      code: "E_OUTER",
      cause: { name: "RangeError" },
    });
    expect(seen).toHaveLength(names.length + 1);
    expect(seen).toContainEqual({ from: "a thread", isMain: false });
    expect(seen).toEqual(expect.arrayContaining(["TypeError", "UnrecoverableError"]));
  });

  it("and keys come along with what a thread enqueues, or it is told why not", async () => {
    here = await world(memory);
    const job = acts({});
    const handle = await here.jobs.enqueue(job, { act: "enqueue with keys" });
    await runUntilIdle(here.jobs.worker([job, implement(guarded, (n) => n)], { threads: 1 }));
    expect((await handle.get())?.result).toEqual([
      'definition is "guarded". Its middleware stands in the main thread: enqueue it by its name, as the worker has it.',
      ...["created", "created", "replaced", "existing", "created"],
    ]);
    const [through] = (await here.jobs.list({ state: "completed", name: "guarded" })).jobs;
    expect(through?.result).toBe(2);
    expect((await here.jobs.keys({ of: keyed })).keys.map(({ key }) => key)).toEqual(["n-5"]);
  });

  it("can answer for the thread, and a run that is killed before next() ends once", async () => {
    here = await world(memory);
    const answers = acts({ middleware: [{ run: () => "instead" }] });
    const handle = await here.jobs.enqueue(answers, { act: "throw" });
    await runUntilIdle(here.jobs.worker([answers], { threads: 1 }));
    expect((await handle.get())?.result).toBe("instead");

    let isHeld = false;
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const holds = defineJob(acts({ timeout: "1m" }), {
      name: "holds",
      middleware: [
        {
          async run(_ctx, next) {
            isHeld = true;
            await held;
            return next();
          },
        },
      ],
    });
    const late = await here.jobs.enqueue(holds, { act: "return" });
    const worker = here.jobs.worker([holds], { threads: 1 });
    let deaths = 0;
    worker.on("dead", () => (deaths += 1));
    const done = runUntilIdle(worker);
    await until(() => isHeld);
    await here.clock.advance("2m");
    await done;
    expect(await late.get()).toMatchObject({ state: "dead", error: { name: "TimeoutError" } });
    letGo();
    await turns();
    await runUntilIdle(worker);
    expect(deaths).toBe(1);
    expect(await late.get()).toMatchObject({ state: "dead", attempt: 1 });
  });
});
