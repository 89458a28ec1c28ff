import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { untilStopped } from "../../src/cli/long-running.ts";
import { EXIT } from "../../src/cli/terminal.ts";
import { type CurrentJob, currentJob } from "../../src/current-job.ts";
import { defineJob, fixed, item, json } from "../../src/index.ts";
import { runScope } from "../../src/run-scope.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { FakeTerminal } from "../cli/fake-terminal.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { turns, until, type World, world } from "../support/world.ts";

const memory = storages[0] as StorageKind;
let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

describe("currentJob()", () => {
  // What its import has switched on is for the tests of this file: others run in the same process.
  const { enter } = runScope;
  beforeAll(() => void (runScope.enter = enter));
  afterAll(() => void (runScope.enter = undefined));

  it("tells the runs of a worker apart, however deep and whatever was awaited", async () => {
    expect(enter).toBeTypeOf("function");
    expect(currentJob()).toBeUndefined();
    const seen = new Map<string, (CurrentJob | undefined)[]>();
    const deep = async (key: string): Promise<void> => {
      seen.get(key)?.push(currentJob());
      await new Promise((resolve) => setImmediate(resolve));
      seen.get(key)?.push(currentJob());
    };
    const nested = defineJob({
      name: "nested",
      payload: json<string>(),
      queue: "q",
      maxRetries: 1,
      backoff: fixed(0),
      middleware: [
        {
          async run(ctx, next) {
            seen.set(ctx.job.id, [currentJob()]);
            return next();
          },
        },
      ],
      run: async (how, ctx) => {
        await Promise.all([deep(ctx.job.id), deep(ctx.job.id)]);
        if (how === "twice" && ctx.job.attempt === 1) throw new Error("again");
      },
    });
    here = await world(memory);
    const handles = await here.jobs.enqueueMany(nested, ["once", "twice"]);
    await runUntilIdle(here.jobs.worker([nested]));
    for (const [i, { id }] of handles.entries()) {
      const job = { id, name: "nested", queue: "q", attempt: i + 1 };
      expect(seen.get(id)).toEqual([job, job, job, job, job]);
    }
    expect(currentJob()).toBeUndefined();
  });

  it("names the job that did not catch a rejection", async () => {
    here = await world(memory);
    const stray = defineJob({
      name: "stray",
      run: async () => {
        await turns(1);
        void Promise.reject(new Error("nobody listens"));
      },
    });
    const handle = await here.jobs.enqueue(stray, 1);
    const blamed: (string | undefined)[] = [];
    const others = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection");
    process.on("unhandledRejection", () => blamed.push(currentJob()?.id));
    try {
      await runUntilIdle(here.jobs.worker([stray]));
      await until(() => blamed.length > 0);
    } finally {
      process.removeAllListeners("unhandledRejection");
      for (const listener of others) process.on("unhandledRejection", listener);
    }
    expect(blamed).toEqual([handle.id]);
  });

  it("lets the command line say whose error it was that nobody caught", async () => {
    const terminal = new FakeTerminal();
    const ended = untilStopped(terminal, {
      ended: EXIT.done,
      start: async () => undefined,
      stop: async () => undefined,
    });
    const job = { id: "7", name: "resize", queue: "q", attempt: 1 };
    runScope.enter?.(
      () => job,
      () => terminal.stray(new RangeError("boom")),
    );
    await ended;
    expect(terminal.errors).toBe(
      'an error that nobody caught in the run of job 7 "resize": RangeError: boom. It stops.\n',
    );
  });

  it("is there in threads, too", async () => {
    here = await world(memory);
    const acts = defineJob({
      name: "acts",
      payload: json<{ act: string }>(),
      thread: new URL("thread-handlers/acts.ts", import.meta.url),
    });
    const [asks, talks] = await here.jobs.enqueueMany(acts, [{ act: "current job" }, { act: "talk" }]);
    await runUntilIdle(here.jobs.worker([acts], { threads: 1 }));
    const job = { id: asks?.id, name: "acts", queue: "default", attempt: 1 };
    expect((await asks?.get())?.result).toEqual([job, job]);
    // What a thread says of its run is kept as anywhere.
    expect(await talks?.get()).toMatchObject({ state: "completed", progress: { done: 1, note: "done" } });
    expect((await here.jobs.logs(talks?.id ?? "")).map(({ text }) => text)).toEqual(["one", "two"]);
  });
});

describe("diagnostics channels", () => {
  it("tell enqueues and runs, without payloads, and make nothing when nobody listens", async () => {
    const names = ["jobwright:enqueue", "jobwright:run:start", "jobwright:run:end", "jobwright:run:error"];
    const heard: [string, unknown][] = [];
    const listener = (message: unknown, name: string | symbol): void =>
      void heard.push([String(name), message]);
    here = await world(memory);
    const { jobs } = here;
    const fails = defineJob({
      name: "fails",
      queue: "q",
      maxRetries: 0,
      run: () => {
        throw new TypeError("broken");
      },
    });
    const works = defineJob({ name: "works", queue: "q", run: () => 1 });
    for (const name of names) subscribe(name, listener);
    const handles = await jobs.enqueueMany([item(works, "secret"), item(fails, "secret")]);
    await runUntilIdle(jobs.worker([works, fails], { concurrency: 1 }));
    for (const name of names) unsubscribe(name, listener);
    await jobs.enqueue(works, "secret");
    const [a, b] = handles.map(({ id }, i) => ({ id, name: i === 0 ? "works" : "fails", queue: "q" }));
    const ended = { attempt: 1, waitedMs: 0, wasTimed: false, durationMs: 0 };
    const error = { name: "TypeError", message: "broken" };
    expect(heard).toEqual([
      [names[0], { jobs: [a, b].map((one) => ({ ...one, status: "created" })) }],
      [names[1], { ...a, attempt: 1 }],
      [names[2], { ...a, ...ended, outcome: "completed", error: undefined }],
      [names[1], { ...b, attempt: 1 }],
      [names[3], { ...b, ...ended, outcome: "dead", error }],
      [names[2], { ...b, ...ended, outcome: "dead", error }],
    ]);
    expect(JSON.stringify(heard)).not.toContain("secret");
  });
});
