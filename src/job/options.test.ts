import { describe, expect, test } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { exponential, fixed } from "./backoff.ts";
import { type AnyJobDefinition, defineJob, implement, type JobOptions } from "./definition.ts";
import { limits } from "./limits.ts";
import {
  builtIn,
  checkDefaults,
  checkDefinition,
  type EnqueueOptions,
  type ResolvedOptions,
  resolveOptions as resolveWithText,
} from "./options.ts";
import { json, type StandardSchema } from "./schema.ts";

const none = checkDefaults({});
const resolveOptions = (
  definition: AnyJobDefinition,
  payload: unknown,
  call: EnqueueOptions | undefined,
  defaults: JobOptions,
): ResolvedOptions => resolveWithText(definition, payload, call, defaults, JSON.stringify(payload));
const builtInResolved = {
  name: "plain",
  queue: "default",
  priority: 0,
  maxRetries: 5,
  backoff: exponential(),
  timeoutMs: 900_000,
  retention: { completedMs: 86_400_000, cancelledMs: 604_800_000, deadMs: 604_800_000 },
  tags: [],
};
const plain = defineJob({ name: "plain" });
const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const tenantJob = defineJob({
  name: "tenant-job",
  payload: json<{ tenant: string; vip: boolean }>(),
  queue: ({ tenant }) => `tenant-${tenant}`,
  priority: ({ vip }) => (vip ? -10 : 10),
  tags: ({ tenant }) => [tenant],
});

describe("resolveOptions", () => {
  test("nobody says anything: the built-in values", () => {
    expect(resolveOptions(plain, {}, undefined, none)).toStrictEqual(builtInResolved);
    expect(resolveOptions(plain, {}, {}, none)).toStrictEqual(builtInResolved);
  });

  // Each option at each level: the highest level that says something wins.
  const levels: [keyof JobOptions, Required<JobOptions>[keyof JobOptions][], string, unknown[]][] = [
    ["queue", ["q1", "q2", "q3"], "queue", ["q1", "q2", "q3"]],
    ["priority", [1, 2, -3], "priority", [1, 2, -3]],
    ["maxRetries", [0, 2, Number.POSITIVE_INFINITY], "maxRetries", [0, 2, null]],
    ["backoff", [fixed(1), fixed(2), fixed(3)], "backoff", [fixed(1), fixed(2), fixed(3)]],
    ["timeout", ["1s", 2_000, Number.POSITIVE_INFINITY], "timeoutMs", [1_000, 2_000, null]],
    ["tags", [["a"], ["b"], []], "tags", [["a"], ["b"], []]],
  ];
  test.each(levels)(
    "%s: call > definition > defaults > built-in",
    (option, [low, middle, high], field, stored) => {
      const at = (value: unknown): JobOptions => ({ [option]: value });
      const withOption = defineJob({ name: "plain", ...(at(middle) as object) });
      const defaults = checkDefaults(at(low));
      const resolved = [
        resolveOptions(plain, {}, undefined, defaults),
        resolveOptions(withOption, {}, undefined, defaults),
        resolveOptions(withOption, {}, at(high), defaults),
        resolveOptions(plain, {}, at(high), none),
        // Said to be undefined is not said.
        resolveOptions(
          defineJob({ name: "plain", ...(at(undefined) as object) }),
          {},
          at(undefined),
          defaults,
        ),
      ].map((all) => (all as unknown as Record<string, unknown>)[field]);
      expect(resolved).toEqual([stored[0], stored[1], stored[2], stored[2], stored[0]]);
    },
  );

  test("retention is merged by outcome over all levels", () => {
    const definition = defineJob({ name: "plain", retention: { cancelled: "2h", dead: "2h" } });
    const defaults = checkDefaults({ retention: { completed: "1h", cancelled: "1h" } });
    const call = { retention: { dead: Number.POSITIVE_INFINITY } };
    expect(resolveOptions(definition, {}, call, defaults).retention).toEqual({
      completedMs: 3_600_000,
      cancelledMs: 7_200_000,
      deadMs: null,
    });
    expect(resolveOptions(plain, {}, { retention: { completed: 0 } }, none).retention).toEqual({
      ...builtInResolved.retention,
      completedMs: 0,
    });
  });

  test("functions of the payload win over defaults and lose to the call", () => {
    const payload = { tenant: "acme", vip: true };
    const defaults = checkDefaults({ queue: "slow", priority: 5, tags: ["x"] });
    expect(resolveOptions(tenantJob, payload, undefined, defaults)).toMatchObject({
      queue: "tenant-acme",
      priority: -10,
      tags: ["acme"],
    });
    expect(resolveOptions(tenantJob, { tenant: "b", vip: false }, undefined, defaults)).toMatchObject({
      queue: "tenant-b",
      priority: 10,
      tags: ["b"],
    });
    expect(resolveOptions(tenantJob, payload, { queue: "now", tags: [] }, defaults)).toMatchObject({
      queue: "now",
      priority: -10,
      tags: [],
    });
  });

  test("what a function answers is checked, and the function is not asked in vain", () => {
    const bad = defineJob({
      name: "bad",
      payload: json<{ queue: string; priority: number }>(),
      queue: (payload) => payload.queue,
      priority: (payload) => payload.priority,
    });
    const resolve = (queue: string, priority: number, call?: EnqueueOptions) => () =>
      resolveOptions(bad, { queue, priority }, call, none);
    expect(resolve("", 0)).toThrow('queue, computed by "bad", is "".');
    expect(resolve("a", 0.5)).toThrow('priority, computed by "bad", is 0.5.');
    expect(resolve("", 0, { queue: "a" })().queue).toBe("a");
  });

  test("the answers of one call leave no trace in the next", () => {
    const first = resolveOptions(
      plain,
      {},
      { queue: "a", in: "1h", id: "x", retention: { dead: 0 }, tags: ["t"] },
      none,
    );
    expect(first).toMatchObject({ queue: "a", later: { delayMs: 3_600_000 }, givenId: "x" });
    expect(resolveOptions(plain, {}, undefined, none)).toStrictEqual(builtInResolved);
    expect(resolveOptions(plain, {}, undefined, checkDefaults({ queue: "b" })).queue).toBe("b");
    expect(resolveOptions(plain, {}, undefined, none).queue).toBe("default");
  });

  test("an ordinary call reads the definition's options once, however often it is repeated", () => {
    let reads = 0;
    const options = new Proxy(
      { queue: "a" },
      { get: (target, key) => (reads++, Reflect.get(target, key) as unknown) },
    );
    const definition = { ...plain, options };
    resolveOptions(definition, {}, undefined, none);
    const afterFirst = reads;
    for (let call = 0; call < 1_000; call++) resolveOptions(definition, {}, undefined, none);
    expect(afterFirst).toBeGreaterThan(0);
    expect(reads).toBe(afterFirst);
  });

  test("when: in and at", () => {
    const laterOf = (call: EnqueueOptions): unknown => resolveOptions(plain, {}, call, none).later;
    expect(laterOf({ in: "5m" })).toEqual({ delayMs: 300_000 });
    expect(laterOf({ in: 0 })).toEqual({ delayMs: 0 });
    expect(laterOf({ at: new Date(77) })).toEqual({ at: 77 });
    // The past means now.
    expect(laterOf({ at: new Date(-77) })).toEqual({ at: 0 });
    expect(laterOf({ queue: "a" })).toBeUndefined();
  });

  test("a trace is taken as it is, with its state", () => {
    const traceOf = (trace: string): unknown => resolveOptions(plain, {}, { trace }, none).trace;
    expect(traceOf(TRACEPARENT)).toBe(TRACEPARENT);
    expect(traceOf(`${TRACEPARENT}\nvendor=a:b,other=c`)).toBe(`${TRACEPARENT}\nvendor=a:b,other=c`);
  });

  const bad: [string, unknown, string][] = [
    [
      "in and at",
      { in: "5m", at: new Date(0) },
      'at is 1970-01-01T00:00:00.000Z. Use it or `in` (here "5m"), not both.',
    ],
    ["a negative in", { in: -1 }, "in is -1."],
    ["NaN as in", { in: Number.NaN }, "in is NaN."],
    ["an endless in", { in: Number.POSITIVE_INFINITY }, "in is Infinity."],
    ["in as words", { in: "5 minutes" }, 'in is "5 minutes".'],
    ["an Invalid Date", { at: new Date(Number.NaN) }, "at is an Invalid Date."],
    ["at as text", { at: "2030-01-01" }, 'at is "2030-01-01".'],
    ["at as a number", { at: 5 }, "at is 5."],
    ["at after year 9999", { at: new Date(limits.instantMax + 1) }, "at is +010000-01-01T00:00:00.000Z."],
    ["an empty id", { id: "" }, 'id is "".'],
    ["a numeric id", { id: 7 }, "id is 7."],
    ["an id with a line break", { id: "a\n" }, 'id is "a\\n".'],
    [
      "an unknown option",
      { delay: "5m" },
      'delay is "5m". There is no such option here: use id, in, at, trace, unique, limit, concurrencyKey, queue,',
    ],
    [
      "an unknown option that is undefined",
      { runAt: undefined },
      "runAt is undefined. There is no such option",
    ],
    ["a trace that is none", { trace: "00-abc-def-01" }, 'trace is "00-abc-def-01". Use a W3C traceparent'],
    ["a trace of zeros", { trace: `00-${"0".repeat(32)}-${"1".repeat(16)}-01` }, "trace is "],
    ["a trace that forges lines", { trace: `${TRACEPARENT}\na=1\nb=2` }, "trace is "],
    ["a long trace", { trace: `${TRACEPARENT}\na=${"x".repeat(600)}` }, "at most 600 characters"],
    ["options of a definition", { run: () => 1 }, "run is a function. There is no such option"],
    ["a function", { queue: () => "a" }, "queue is a function."],
    ["text for options", "5m", 'options is "5m". Use an object'],
    ["null for options", null, "options is null."],
    ["an array for options", [], "options is an array."],
  ];
  test.each(bad)("refuses %s", (_what, call, message) => {
    const resolve = (): unknown => resolveOptions(plain, {}, call as EnqueueOptions, none);
    expect(resolve).toThrow(InvalidOptionError);
    expect(resolve).toThrow(message);
  });
});

// What no level takes: as defaults, in a definition, and at a call.
const badOptions: [string, Record<string, unknown>, string][] = [
  ["an empty queue", { queue: "" }, 'queue is "".'],
  ["a queue that is too long", { queue: "q".repeat(201) }, "queue is "],
  ["a queue that is no text", { queue: 5 }, "queue is 5."],
  ["a priority that is no integer", { priority: 0.5 }, "priority is 0.5. Use an integer from -1000 to 1000"],
  ["a priority too high", { priority: 1001 }, "priority is 1001."],
  ["a priority too low", { priority: -1001 }, "priority is -1001."],
  ["NaN as priority", { priority: Number.NaN }, "priority is NaN."],
  ["a priority as text", { priority: "1" }, 'priority is "1".'],
  ["negative retries", { maxRetries: -1 }, "maxRetries is -1. Use an integer from 0, or Infinity."],
  ["half a retry", { maxRetries: 1.5 }, "maxRetries is 1.5."],
  ["NaN retries", { maxRetries: Number.NaN }, "maxRetries is NaN."],
  ["minus infinite retries", { maxRetries: Number.NEGATIVE_INFINITY }, "maxRetries is -Infinity."],
  ["null retries", { maxRetries: null }, "maxRetries is null."],
  ["a timeout of 0", { timeout: 0 }, "timeout is 0."],
  ["a negative timeout", { timeout: -5 }, "timeout is -5."],
  ["a NaN timeout", { timeout: Number.NaN }, "timeout is NaN."],
  ["a timeout in words", { timeout: "one hour" }, 'timeout is "one hour".'],
  ["a null timeout", { timeout: null }, "timeout is null."],
  ["a backoff as text", { backoff: "5s" }, 'backoff is "5s". Use exponential(), linear() or fixed().'],
  ["a backoff that is not whole", { backoff: { kind: "fixed" } }, "backoff is NaN."],
  ["retention as a duration", { retention: "1d" }, 'retention is "1d".'],
  ["negative retention", { retention: { dead: -1 } }, "retention.dead is -1."],
  ["NaN retention", { retention: { completed: Number.NaN } }, "retention.completed is NaN."],
  [
    "retention of an unknown end",
    { retention: { failed: "1d" } },
    'retention.failed is "1d". Use completed,',
  ],
  ["tags as text", { tags: "a" }, 'tags is "a".'],
  [
    "21 tags",
    { tags: Array.from({ length: 21 }, (_, n) => `t${n}`) },
    "tags is an array. Use an array of at most 20",
  ],
  ["an empty tag", { tags: ["a", ""] }, 'a tag of tags is "".'],
  ["a tag that is no text", { tags: [5] }, "a tag of tags is 5."],
  ["a hole among tags", { tags: Array.from({ length: 1 }) }, "a tag of tags is undefined."],
  ["an unknown option", { retries: 3 }, "retries is 3. There is no such option here: use"],
];

describe.each(badOptions)("%s", (_what, options, message) => {
  test.each<[string, () => unknown]>([
    ["in defaults", () => checkDefaults(options)],
    ["in a definition", () => defineJob({ name: "x", ...options })],
    ["at a call", () => resolveOptions(plain, {}, options, none)],
  ])("is refused %s", (_where, make) => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(message);
  });
});

describe("extremes that make sense", () => {
  test.each([
    [{ priority: -1000 }, { priority: -1000 }],
    [{ priority: 1000 }, { priority: 1000 }],
    [{ priority: -0 }, { priority: 0 }],
    [{ maxRetries: 0 }, { maxRetries: 0 }],
    [{ maxRetries: -0 }, { maxRetries: 0 }],
    [{ maxRetries: 2 ** 31 }, { maxRetries: 2 ** 31 }],
    [{ timeout: 1 }, { timeoutMs: 1 }],
    [{ queue: "__proto__" }, { queue: "__proto__" }],
    [{ tags: ["a", "b", "a"] }, { tags: ["a", "b"] }],
  ])("%o", (call, stored) => {
    // Objects are compared with Object.is inside: -0 would be found out.
    expect(resolveOptions(plain, {}, call, none)).toStrictEqual({ ...builtInResolved, ...stored });
  });
});

test("the built-in options pass their own check", () => {
  expect(() => checkDefaults(builtIn)).not.toThrow();
});

describe("checkDefaults", () => {
  test("copies, so that a change afterwards changes nothing", () => {
    const mine = { queue: "a" };
    const checked = checkDefaults(mine);
    mine.queue = "";
    expect(checked).toEqual({ queue: "a" });
    expect(Object.isFrozen(checked)).toBe(true);
  });

  test("takes no functions: there is no payload yet", () => {
    expect(() => checkDefaults({ queue: (() => "a") as unknown as string })).toThrow("queue is a function.");
  });
});

describe("checkDefinition", () => {
  test("knows when attempts can begin anew", () => {
    expect(() => defineJob({ name: "x", resetAttempts: "checkpoint" })).not.toThrow();
    expect(() => defineJob({ name: "x", resetAttempts: "never" })).not.toThrow();
    expect(() => defineJob({ name: "x", resetAttempts: "1h" as "never" })).toThrow('resetAttempts is "1h".');
  });

  test.each(["", "a\u0000", "x".repeat(201), undefined, 5])("refuses the name %j", (name) => {
    expect(() => defineJob({ name: name as string })).toThrow(InvalidOptionError);
    expect(() => defineJob({ name: name as string })).toThrow(/^name is /);
  });

  const schemas: [string, unknown][] = [
    ["a plain object", { file: "string" }],
    ["text", "string"],
    ["null", null],
    ["another version", { "~standard": { version: 2, vendor: "x", validate: () => ({ value: 1 }) } }],
    ["no validate", { "~standard": { version: 1, vendor: "x" } }],
    ["null inside", { "~standard": null }],
  ];
  test.each(schemas)("refuses %s as a schema", (_what, payload) => {
    const define = (): unknown => defineJob({ name: "x", payload: payload as StandardSchema });
    expect(define).toThrow(InvalidOptionError);
    expect(define).toThrow("Use a schema that implements Standard Schema v1");
  });

  test("takes schemas that are functions", () => {
    const schema = Object.assign(() => 1, json<string>()) as unknown as StandardSchema<string>;
    expect(defineJob({ name: "x", payload: schema }).schema).toBe(schema);
  });

  test.each(["resize", {}, null])("refuses %j as a handler", (run) => {
    expect(() => defineJob({ name: "x", run: run as unknown as () => 1 })).toThrow(/^run is /);
    expect(() => implement(defineJob({ name: "x" }), run as unknown as () => 1)).toThrow(/^run is /);
  });

  test("refuses to bind nothing", () => {
    expect(() => implement(defineJob({ name: "x" }), undefined as unknown as () => 1)).toThrow(
      "run is undefined.",
    );
  });

  test("refuses a second handler", () => {
    const bound = implement(defineJob({ name: "x" }), () => 1);
    expect(() => implement(bound, () => 2)).toThrow(InvalidOptionError);
    expect(() => implement(bound, () => 2)).toThrow('definition is "x". It already has a handler');
    expect(() => checkDefinition(bound)).not.toThrow();
  });
});
