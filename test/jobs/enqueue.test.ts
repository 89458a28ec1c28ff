import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  defineJob,
  DuplicateIdError,
  exponential,
  fixed,
  InvalidOptionError,
  InvalidPayloadError,
  item,
  json,
  limits,
  OverloadedError,
  PayloadTooLargeError,
  type StandardSchema,
  StorageUnavailableError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { gate, turns, type World, world } from "../support/world.ts";

const anything = defineJob({ name: "anything", run: (payload) => payload });
const sized = defineJob({
  name: "sized",
  payload: z.object({ width: z.coerce.number().int().positive() }),
  run: ({ width }) => width,
});

class Point {
  readonly x = 1;
}

/** Answers later, as schemas that ask a database do. */
const slowly: StandardSchema<number, number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: async (value) => {
      await new Promise((resolve) => setImmediate(resolve));
      return typeof value === "number" && value >= 0
        ? { value: value * 2 }
        : { issues: [{ message: "must not be negative", path: ["deep", 0] }] };
    },
  },
};
const doubled = defineJob({ name: "doubled", payload: slowly, run: (n) => n });

describe.each(storages)("enqueue on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());
  const stored = async (): Promise<number> => (await here.jobs.count()).n;

  describe("what is refused", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = { cycle };
    let deep: unknown = 1;
    for (let level = 0; level < limits.jsonDepth + 1; level += 1) deep = [deep];
    const throwing = {
      get boom(): never {
        throw new Error("from the getter");
      },
    };
    it.each<[string, unknown, RegExp]>([
      ["a BigInt", { n: 1n }, /n: JSON has no BigInt.*toString/],
      ["a cycle", cycle, /contains itself/],
      ["a function", { f: () => 1 }, /f: JSON has no functions/],
      ["a Date", { at: new Date(0) }, /at: JSON has no dates.*toISOString/],
      ["an invalid Date", { at: new Date(Number.NaN) }, /at: .*invalid/],
      ["undefined inside an array", { list: [1, undefined] }, /list\[1\]: undefined/],
      ["a hole in an array", { list: Object.assign([1], { 2: 2 }) }, /list\[1\]: A hole/],
      ["NaN", { n: Number.NaN }, /n: NaN is no JSON number/],
      ["Infinity", [Number.POSITIVE_INFINITY], /\[0\]: Infinity/],
      ["a symbol", { s: Symbol("s") }, /s: JSON has no symbols/],
      ["a Map", { map: new Map() }, /map: JSON has no Map/],
      ["bytes", { bytes: new Uint8Array(3) }, /bytes: JSON has no bytes/],
      ["an instance of a class", new Point(), /An instance of Point/],
      ["too deep nesting", deep, /nested more than 100 levels/],
      ["a getter that throws", throwing, /boom: Reading it threw "from the getter"/],
    ])("%s, with a typed error and nothing stored", async (_what, payload, message) => {
      here = await world(kind);
      const { jobs } = here;
      const neighbours = [
        jobs.enqueue(anything, 1),
        jobs.enqueue(anything, payload),
        jobs.enqueue(anything, 2),
      ];
      const [first, bad, last] = await Promise.allSettled(neighbours);
      expect([first?.status, bad?.status, last?.status]).toEqual(["fulfilled", "rejected", "fulfilled"]);
      const { reason } = bad as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(InvalidPayloadError);
      expect((reason as Error).message).toMatch(message);
      await expect(jobs.enqueueMany(anything, [1, payload, 2])).rejects.toThrow(InvalidPayloadError);
      expect(await stored()).toBe(2);
    });

    it("a payload above the limit, by its size in UTF-8", async () => {
      here = await world(kind);
      const text = "é".repeat(limits.payloadBytes / 2);
      await expect(here.jobs.enqueue(anything, text)).rejects.toThrow(PayloadTooLargeError);
      await expect(here.jobs.enqueue(anything, text)).rejects.toThrow(
        /1048578 bytes of JSON; the limit is 1048576/,
      );
      expect(await stored()).toBe(0);
      await here.jobs.enqueue(anything, text.slice(1));
      expect(await stored()).toBe(1);
    });

    it.each<[string, object, string]>([
      ["NaN as a delay", { in: Number.NaN }, "in"],
      ["an infinite delay", { in: Number.POSITIVE_INFINITY }, "in"],
      ["a negative delay", { in: -1 }, "in"],
      ["text that is no duration", { in: "soon" }, "in"],
      ["an Invalid Date", { at: new Date(Number.NaN) }, "at"],
      ["a date that is none", { at: 17 }, "at"],
      ["an instant after the year 9999", { at: new Date(limits.instantMax + 1) }, "at"],
      ["both `in` and `at`", { in: 1, at: new Date() }, "at"],
      ["a fractional priority", { priority: 0.5 }, "priority"],
      ["a priority out of range", { priority: 1_001 }, "priority"],
      ["negative retries", { maxRetries: -1 }, "maxRetries"],
      ["NaN retries", { maxRetries: Number.NaN }, "maxRetries"],
      ["a timeout of 0", { timeout: 0 }, "timeout"],
      ["a negative retention", { retention: { completed: -1 } }, "retention.completed"],
      ["an unknown retention", { retention: { failed: 1 } }, "retention.failed"],
      ["an empty queue name", { queue: "" }, "queue"],
      ["a queue name with a line feed", { queue: "a\nb" }, "queue"],
      ["an id that is too long", { id: "x".repeat(201) }, "id"],
      ["too many tags", { tags: Array.from({ length: 21 }, (_, i) => `t${i}`) }, "tags"],
      ["a backoff by hand", { backoff: { kind: "magic" } }, "backoff"],
      ["an unknown option", { delay: 5 }, "delay"],
    ])("%s", async (_what, options, option) => {
      here = await world(kind);
      const refused = await here.jobs.enqueue(anything, 1, options).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(InvalidOptionError);
      expect((refused as InvalidOptionError).option).toContain(option);
      expect(await stored()).toBe(0);
    });

    it("what is no definition, no list and no option", async () => {
      here = await world(kind);
      const { jobs } = here;
      for (const definition of [undefined, null, "anything", {}, { name: "x" }]) {
        await expect(jobs.enqueue(definition as never, 1 as never)).rejects.toThrow(InvalidOptionError);
      }
      await expect(jobs.enqueueMany([null as never])).rejects.toThrow(InvalidOptionError);
      await expect(jobs.enqueueMany(anything, "abc" as never)).rejects.toThrow(InvalidOptionError);
      await expect(jobs.enqueueMany(anything, [1], { id: "one" } as never)).rejects.toThrow(
        InvalidOptionError,
      );
      await expect(jobs.enqueue(anything, 1, null as never)).rejects.toThrow(InvalidOptionError);
      expect(await stored()).toBe(0);
    });

    it("issues of a schema, synchronous or not, with their paths", async () => {
      here = await world(kind);
      const bad = await here.jobs.enqueue(sized, { width: -1 }).catch((error: unknown) => error);
      expect(bad).toBeInstanceOf(InvalidPayloadError);
      expect((bad as InvalidPayloadError).issues).toMatchObject([{ path: ["width"] }]);
      const late = await here.jobs.enqueue(doubled, -1).catch((error: unknown) => error);
      expect((late as InvalidPayloadError).issues).toEqual([
        { message: "must not be negative", path: ["deep", 0] },
      ]);
      expect(await stored()).toBe(0);
    });

    it("a schema that throws, or rejects", async () => {
      here = await world(kind);
      const made = (validate: () => never): StandardSchema<unknown> => ({
        "~standard": { version: 1, vendor: "test", validate },
      });
      const throws = defineJob({ name: "throws", payload: made(() => { throw new Error("no database"); }) }); // oxfmt-ignore
      await expect(here.jobs.enqueue(throws, 1)).rejects.toThrow(/The schema threw Error: no database/);
      const rejects = defineJob({ name: "rejects", payload: made((() => Promise.reject(null)) as never) });
      await expect(here.jobs.enqueue(rejects, 1)).rejects.toThrow(InvalidPayloadError);
    });

    it("a batch of which one is bad, without a stray rejection of the others", async () => {
      here = await world(kind);
      const stray: unknown[] = [];
      const onStray = (reason: unknown): void => void stray.push(reason);
      process.on("unhandledRejection", onStray);
      try {
        const items = [item(doubled, -1), item(anything, { n: 1n }), item(doubled, -2)];
        await expect(here.jobs.enqueueMany(items)).rejects.toThrow(InvalidPayloadError);
        await turns();
        expect(stray).toEqual([]);
      } finally {
        process.off("unhandledRejection", onStray);
      }
      expect(await stored()).toBe(0);
    });
  });

  it("stores null for a payload left out where nothing checks it, and asks a schema otherwise", async () => {
    here = await world(kind);
    expect((await (await here.jobs.enqueue(anything)).get())?.payload).toBeNull();
    const refused = here.jobs.enqueue(sized as never, undefined as never);
    await expect(refused).rejects.toThrow(InvalidPayloadError);
    const any = defineJob({ name: "any", payload: z.any() });
    await expect(here.jobs.enqueue(any, undefined)).rejects.toThrow(/payload: undefined/);
    expect(await stored()).toBe(1);
  });

  it("stores the schema's input and hands its output to the handler and to option functions", async () => {
    here = await world(kind);
    const seen: unknown[] = [];
    const tagged = defineJob({
      name: "tagged",
      payload: z.object({ size: z.string().transform(Number) }),
      queue: ({ size }) => (size > 5 ? "large" : "small"),
      priority: ({ size }) => size,
      tags: ({ size }) => [`size-${size}`],
      run: (payload) => void seen.push(payload),
    });
    const handle = await here.jobs.enqueue(tagged, { size: "7" });
    expect(await handle.get()).toMatchObject({
      payload: { size: "7" },
      queue: "large",
      priority: 7,
      tags: ["size-7"],
    });
    await runUntilIdle(here.jobs.worker([tagged], { queues: ["large"] }));
    expect(seen).toEqual([{ size: 7 }]);
  });

  it("takes each option from the nearest level that says it", async () => {
    const defaults = {
      queue: "from-connect",
      priority: 3,
      maxRetries: 9,
      retention: { dead: "3d", cancelled: 0 },
    };
    here = await world(kind, { defaults } as never);
    const partly = defineJob({
      name: "partly",
      payload: json<number>(),
      priority: (n) => n,
      retention: { dead: "1h" },
      run: () => 1,
    });
    const get = async (options?: object) => (await here.jobs.enqueue(partly, 5, options)).get();
    expect(await get()).toMatchObject({ queue: "from-connect", priority: 5, maxRetries: 9 });
    expect(
      await get({ queue: "from-call", priority: -4, maxRetries: Number.POSITIVE_INFINITY }),
    ).toMatchObject({
      queue: "from-call",
      priority: -4,
      maxRetries: Number.POSITIVE_INFINITY,
    });
    const plain = await (await here.another({ defaults: {} })).enqueue(partly, 5);
    expect(await plain.get()).toMatchObject({ queue: "default", priority: 5, maxRetries: 5 });
    const spec = here.faults.args("enqueue").flatMap(([groups]) => (groups as object[][]).flat());
    expect(spec).toMatchObject([
      { retention: { completedMs: 86_400_000, cancelledMs: 0, deadMs: 3_600_000 }, timeoutMs: 900_000 },
      {},
      { retention: { completedMs: 86_400_000, cancelledMs: 604_800_000, deadMs: 3_600_000 } },
    ]);
    expect(spec[0]).toMatchObject({ backoff: exponential() });
  });

  it("keeps hostile names and payload keys as plain data", async () => {
    here = await world(kind);
    const payload = JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}') as object;
    const hostile = defineJob({
      name: "__proto__",
      queue: "constructor",
      run: (given) => JSON.stringify(given),
    });
    const handle = await here.jobs.enqueue(hostile, payload, { tags: ["toString"], id: "hasOwnProperty" });
    expect(await runUntilIdle(here.jobs.worker([hostile]))).toBe(1);
    expect(await handle.result({ timeout: "5s" })).toBe('{"__proto__":{"polluted":true},"constructor":1}');
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    const [queue] = await here.jobs.queues();
    expect(queue).toMatchObject({ queue: "constructor", names: [{ name: "__proto__" }] });
  });

  describe("group commit", () => {
    it("stores a hundred calls of one turn in one call, in order", async () => {
      here = await world(kind);
      const handles = await Promise.all(
        Array.from({ length: 100 }, (_, n) => here.jobs.enqueue(anything, n)),
      );
      expect(here.faults.calls.get("enqueue")).toBe(1);
      const ids = handles.map(({ id }) => Number(id));
      expect(ids).toEqual([...ids].sort((a, b) => a - b));
      expect(await Promise.all(handles.map(async (handle) => (await handle.get())?.payload))).toEqual(
        Array.from({ length: 100 }, (_, n) => n),
      );
    });

    it("stores a call alone at once, and gathers the others while it is under way", async () => {
      here = await world(kind);
      const slow = gate();
      here.faults.plan("enqueue", { kind: "delay", until: slow.promise });
      const first = here.jobs.enqueue(anything, 0);
      await here.faults.called("enqueue", 1);
      const rest = Array.from({ length: 50 }, (_, n) => here.jobs.enqueue(anything, n));
      await turns();
      expect(here.faults.calls.get("enqueue")).toBe(1);
      slow.open();
      await Promise.all([first, ...rest]);
      expect(here.faults.args("enqueue").map(([groups]) => (groups as unknown[]).length)).toEqual([1, 50]);
    });

    it("rejects exactly the callers of a batch that fails, with a typed error", async () => {
      here = await world(kind);
      here.faults.plan("enqueue", { kind: "reject", error: new TypeError("a bug") });
      const failing = await Promise.allSettled([
        here.jobs.enqueue(anything, 1),
        here.jobs.enqueue(anything, 2),
      ]);
      expect(failing.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
      const reason = (failing[0] as PromiseRejectedResult).reason as Error;
      expect(reason).toBeInstanceOf(StorageUnavailableError);
      expect(reason.message).toMatch(/a bug/);
      await here.jobs.enqueue(anything, 3);
      expect(await stored()).toBe(1);
    });

    it("repeats a batch whose answer was lost under its batch id: each job exactly once", async () => {
      here = await world(kind);
      here.faults.plan("enqueue", { kind: "commit-then-reject" }, 2);
      const handles = await Promise.all([1, 2, 3].map((n) => here.jobs.enqueue(anything, n)));
      const calls = here.faults.args("enqueue");
      expect(calls).toHaveLength(3);
      expect(new Set(calls.map(([, batchId]) => batchId)).size).toBe(1);
      expect(new Set(handles.map(({ id }) => id)).size).toBe(3);
      expect(handles.every(({ created }) => created)).toBe(true);
      expect(await stored()).toBe(3);
      const ids = new Set([...calls, ...here.faults.args("enqueue")].map(([, batchId]) => batchId));
      await here.jobs.enqueue(anything, 4);
      expect(ids.has(here.faults.args("enqueue").at(-1)?.[1])).toBe(false);
    });

    it("refuses more than it may hold, and takes new ones when there is room again", async () => {
      here = await world(kind);
      const slow = gate();
      here.faults.plan("enqueue", { kind: "delay", until: slow.promise });
      const pending = Array.from({ length: limits.pendingEnqueues }, () => here.jobs.enqueue(anything, 0));
      await expect(here.jobs.enqueue(anything, 1)).rejects.toThrow(OverloadedError);
      await expect(here.jobs.enqueueMany(anything, [1, 2])).rejects.toThrow(OverloadedError);
      slow.open();
      await Promise.all(pending);
      await here.jobs.enqueue(anything, 1);
      expect(await stored()).toBe(limits.pendingEnqueues + 1);
    });

    it("refuses more bytes than it may hold", async () => {
      here = await world(kind);
      const slow = gate();
      here.faults.plan("enqueue", { kind: "delay", until: slow.promise });
      const megabyte = "x".repeat(limits.payloadBytes - 2);
      const pending = Array.from({ length: 64 }, () => here.jobs.enqueue(anything, megabyte));
      await expect(here.jobs.enqueue(anything, megabyte)).rejects.toThrow(/bytes of payloads/);
      here.faults.heal();
      here.faults.plan("enqueue", { kind: "reject", error: new Error("enough") }, 99);
      slow.open();
      await Promise.allSettled(pending);
    });
  });

  describe("enqueueMany", () => {
    it("answers handles in order, of mixed definitions too, and nothing for nothing", async () => {
      here = await world(kind);
      expect(await here.jobs.enqueueMany([])).toEqual([]);
      expect(await here.jobs.enqueueMany(anything, [])).toEqual([]);
      const handles = await here.jobs.enqueueMany([
        item(sized, { width: 3 }),
        item(anything, "b", { queue: "other", priority: 4 }),
        item(doubled, 4),
      ]);
      const found = await Promise.all(handles.map((handle) => handle.get()));
      expect(found).toMatchObject([
        { name: "sized", payload: { width: 3 } },
        { name: "anything", queue: "other", priority: 4 },
        { name: "doubled", payload: 4 },
      ]);
      expect(here.faults.calls.get("enqueue")).toBe(1);
    });

    it("is all or nothing: one id that is taken refuses the whole call, and only that call", async () => {
      here = await world(kind);
      const taken = await here.jobs.enqueue(anything, "first", { id: "taken" });
      const batch = here.jobs.enqueueMany([item(anything, 1), item(anything, "second", { id: "taken" })]);
      const neighbour = here.jobs.enqueueMany(anything, [7, 8]);
      const refused = await batch.catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(DuplicateIdError);
      expect((refused as DuplicateIdError).existingId).toBe(taken.id);
      await neighbour;
      expect(await stored()).toBe(3);
    });

    it("refuses two jobs of one call with one id and different payloads", async () => {
      here = await world(kind);
      const items = [item(anything, 1, { id: "same" }), item(anything, 2, { id: "same" })];
      const refused = await here.jobs.enqueueMany(items).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(InvalidOptionError);
      expect(String(refused)).not.toMatch(/job 0/);
      expect(await stored()).toBe(0);
    });

    it("holds its two limits", async () => {
      here = await world(kind);
      const { jobs } = here;
      const many = Array.from({ length: limits.enqueueJobs + 1 }, () => 0);
      await expect(jobs.enqueueMany(anything, many)).rejects.toThrow(InvalidOptionError);
      const megabyte = "x".repeat(limits.payloadBytes - 2);
      const large = Array.from({ length: 17 }, () => megabyte);
      await expect(jobs.enqueueMany(anything, large)).rejects.toThrow(PayloadTooLargeError);
      expect(await stored()).toBe(0);
      expect(await jobs.enqueueMany(anything, many.slice(1))).toHaveLength(limits.enqueueJobs);
    });
  });

  describe("ids chosen by the caller", () => {
    it("answer with the job that has them, also at once and many times", async () => {
      here = await world(kind);
      const handles = await Promise.all(
        Array.from({ length: 5 }, () => here.jobs.enqueue(anything, { a: 1 }, { id: "order-7" })),
      );
      expect(new Set(handles.map(({ id }) => id)).size).toBe(1);
      expect(handles.map(({ created }) => created)).toEqual([true, false, false, false, false]);
      expect(await handles[0]?.get()).toMatchObject({ givenId: "order-7" });
      expect(await stored()).toBe(1);
    });

    it("refuse another payload, belong to a name, and are free when the job is gone", async () => {
      here = await world(kind);
      const first = await here.jobs.enqueue(anything, 1, { id: "x", retention: { completed: "1m" } });
      await expect(here.jobs.enqueue(anything, 2, { id: "x" })).rejects.toThrow(DuplicateIdError);
      await expect(here.jobs.enqueue(anything, 2, { id: "x" })).rejects.toThrow(`exists as job ${first.id}`);
      expect((await here.jobs.enqueue(doubled, 2, { id: "x" })).created).toBe(true);
      const worker = here.jobs.worker([anything, doubled]);
      expect(await runUntilIdle(worker)).toBe(2);
      // Kept as long as the finished job is kept.
      expect((await here.jobs.enqueue(anything, 1, { id: "x" })).created).toBe(false);
      await here.clock.advance("2m");
      await runUntilIdle(worker);
      const again = await here.jobs.enqueue(anything, 2, { id: "x" });
      expect(again.created).toBe(true);
      expect(again.id).not.toBe(first.id);
    });
  });

  it("starts a later job at its time and never before", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    const worker = jobs.worker([anything]);
    await jobs.enqueue(anything, "in", { in: "1h", backoff: fixed("1s") });
    await jobs.enqueue(anything, "at", { at: new Date(clock.now() + 7_200_000) });
    await jobs.enqueue(anything, "past", { at: new Date(0) });
    expect(await runUntilIdle(worker)).toBe(1);
    await clock.advance(3_599_999);
    expect(await runUntilIdle(worker)).toBe(0);
    await clock.advance(1);
    expect(await runUntilIdle(worker)).toBe(1);
    await clock.advance("1h");
    expect(await runUntilIdle(worker)).toBe(1);
    const far = await jobs.enqueue(anything, "far", { at: new Date(limits.instantMax) });
    expect((await far.get())?.runAt).toEqual(new Date(limits.instantMax));
    expect(await runUntilIdle(worker)).toBe(0);
  });
});
