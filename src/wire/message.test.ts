import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ARGS, interest as anyInterest } from "../../test/server/support/arbitraries.ts";
import { RESULTS } from "../../test/server/support/arbitrary-results.ts";
import { seed } from "../../test/support/size.ts";
import { limits } from "../job/limits.ts";
import { joinFrame, packMessage, unpackFrame } from "./frame.ts";
import { wireLimits } from "./limits.ts";
import { isMethod, packArgs, readArgs, readToClient, readToServer } from "./message.ts";
import { allows, METHODS, type MethodName, SCOPES } from "./methods.ts";
import { MalformedError, type Shape } from "./shape.ts";
import { interest } from "./values.ts";

// Goal: whatever a method takes and answers arrives as it was sent, through the very bytes of a frame.
// Method: values of every method drawn at random, the awkward ones often among them; the seed is printed.

const methods = Object.keys(METHODS) as MethodName[];
const parameters = { seed: seed("wire messages"), numRuns: 60 };

/** A value after a trip over the wire. */
function carried(packed: unknown): unknown {
  const [message] = unpackFrame(joinFrame([packMessage([packed])]));
  return (message as unknown[])[0];
}

describe("a call", () => {
  it.each(methods)("carries the arguments of %s", (method) => {
    fc.assert(
      fc.property(ARGS[method] as fc.Arbitrary<readonly unknown[]>, (args) => {
        const packed = carried(packArgs(method, args)) as unknown[];
        expect(readArgs(method, packed).slice(0, args.length)).toStrictEqual([...args]);
      }),
      parameters,
    );
  });

  it.each(methods)("carries the result of %s", (method) => {
    const shape = METHODS[method].result as Shape<unknown>;
    fc.assert(
      fc.property(RESULTS[method] as fc.Arbitrary<unknown>, (result) => {
        expect(shape.in(carried(shape.out(result)))).toStrictEqual(result);
      }),
      parameters,
    );
  });

  it("carries what a watch waits for", () => {
    fc.assert(
      fc.property(anyInterest, (value) => {
        expect(interest.in(carried(interest.out(value)))).toStrictEqual(value);
      }),
      parameters,
    );
  });

  it("tells the place of what is wrong in its arguments", () => {
    const call = (): unknown => readArgs("get", [[1, "two"]]);
    expect(call).toThrow(MalformedError);
    expect(call).toThrow("get(0).1 is not a number.");
  });

  const job = {
    name: "n",
    queue: "q",
    payload: "1",
    maxRetries: 0,
    backoff: { kind: "fixed", delayMs: 1 },
    timeoutMs: null,
    retention: { completedMs: 1, cancelledMs: 1, deadMs: 1 },
    tags: [],
    priority: 0,
  };
  const unique = { scope: "", key: "k", while: "live", onConflict: "keep" };
  const limit = { scope: "", key: "k", concurrency: 1 };

  it("hands the limit of a job on to the next that says nothing of it, and its unique key to nobody", () => {
    const [[[, second] = []]] = readArgs("enqueue", [
      [[{ ...job, unique, limit, trace: "t" }, { payload: "2" }]],
    ]) as [[Record<string, unknown>[]]];
    expect(second).toEqual({ ...job, payload: "2", limit, trace: "t" });
  });

  it("lets the few jobs of a schedule share a payload, and no others", () => {
    const write = { key: "k", expected: 0, jobs: [job, { givenId: "2" }] };
    expect(readArgs("writeSchedules", [[write]])).toEqual([
      [{ ...write, jobs: [job, { ...job, givenId: "2" }] }],
    ]);
    expect(() => readArgs("enqueue", [[[job, { givenId: "2" }]]])).toThrow("payload is not a text");
    const jobs = [job, ...Array.from({ length: wireLimits.tickJobs }, () => ({}))];
    expect(() => readArgs("writeSchedules", [[{ ...write, jobs }]])).toThrow(
      `has more than ${wireLimits.tickJobs} entries`,
    );
  });

  const lease = { id: 1, generation: 0, token: "t" };
  const line = { at: 1, level: "info", text: "t" };
  const beat = { id: "p", host: "h", pid: 1, lostAfterMs: 1, queues: [], holds: [], starts: [] };
  const tooMuch: [string, MethodName, unknown[]][] = [
    ["a key that is too long", "enqueue", [[[{ ...job, unique: { ...unique, key: "k".repeat(201) } }]]]],
    [
      "a key that is held while something else",
      "enqueue",
      [[[{ ...job, unique: { ...unique, while: "dead" } }]]],
    ],
    [
      "a key that is not said to be handed on",
      "enqueue",
      [[[{ ...job, unique: { ...unique, inherit: false } }]]],
    ],
    ["a limit of none", "enqueue", [[[{ ...job, limit: { ...limit, concurrency: 0 } }]]]],
    ["a limit that is no whole number", "enqueue", [[[{ ...job, limit: { ...limit, concurrency: 1.5 } }]]]],
    [
      "a limit above the largest",
      "enqueue",
      [[[{ ...job, limit: { ...limit, concurrency: limits.limitConcurrency + 1 } }]]],
    ],
    ["a trace that is too long", "enqueue", [[[{ ...job, trace: "t".repeat(limits.traceText + 1) }]]]],
    ["a progress that is too long", "note", [lease, { progress: "1".repeat(limits.progressText + 1) }]],
    [
      "a log line that is too long",
      "note",
      [lease, { log: [{ ...line, text: "t".repeat(limits.logText + 1) }] }],
    ],
    ["a log line of no level", "note", [lease, { log: [{ ...line, level: "loud" }] }]],
    [
      "more schedules than there may be",
      "beat",
      [{ ...beat, declares: Array.from({ length: limits.schedules + 1 }, String) }],
    ],
    [
      "a schedule that is too long",
      "writeSchedules",
      [[{ key: "k", expected: 0, row: { text: "t".repeat(limits.scheduleText + 1), nextAt: null } }]],
    ],
    ["a schedule whose jobs make no sense", "writeSchedules", [[{ key: "k", expected: 0, jobs: [{}] }]]],
  ];
  it.each(tooMuch)("never carries %s", (_what, method, args) => {
    expect(() => readArgs(method, args)).toThrow(MalformedError);
  });

  it("may leave out what may be absent, and nothing else", () => {
    expect(readArgs("enqueue", [[]])).toEqual([[], undefined]);
    expect(() => readArgs("enqueue", [])).toThrow("enqueue(0) is not a list.");
  });
});

describe("messages", () => {
  it.each(["constructor", "__proto__", "open", "close", "watch", "toString", ""])(
    "know no method %j",
    (name) => expect(isMethod(name)).toBe(false),
  );

  const garbage: [string, unknown][] = [
    ["nil", null],
    ["a map", {}],
    ["a text", "call"],
    ["an empty list", []],
    ["an unknown kind", ["shout", 1]],
    ["a kind that is no text", [["call"], 1]],
    ["a call without a number", ["call", "1", "get", []]],
    ["a call with a negative number", ["call", -1, "get", []]],
    ["a call with a fraction", ["call", 1.5, "get", []]],
    ["a call with a number that is too large", ["call", 2 ** 53, "get", []]],
    ["a call without a method", ["call", 1, null, []]],
    ["a call without arguments", ["call", 1, "get"]],
    ["a call whose arguments are a map", ["call", 1, "get", {}]],
    ["a hello that says nothing", ["hello"]],
    ["a hello whose version is a text", ["hello", { protocol: "1", client: "x" }]],
    ["a ping without a number", ["ping"]],
    ["an answer, which only a server sends", ["answer", 1, null]],
  ];
  it.each(garbage)("to a server are never %s", (_what, message) => {
    expect(() => readToServer(message)).toThrow(MalformedError);
  });

  const nonsense: [string, unknown][] = [
    ["nil", null],
    ["a call, which only a client sends", ["call", 1, "get", []]],
    ["an answer without a number", ["answer", null, 1]],
    ["a failure without a reason", ["failure", 1]],
    ["a failure whose message is a number", ["failure", 1, { name: "E", message: 5 }]],
    ["a welcome with a scope that is none", ["welcome", { ...welcome(), scopes: ["root"] }]],
    ["a welcome without credits", ["welcome", { ...welcome(), credits: 0 }]],
    ["a welcome whose clock is no number", ["welcome", { ...welcome(), now: Number.NaN }]],
    ["a pong without the time", ["pong", 1]],
    ["a bye without a reason", ["bye"]],
  ];
  it.each(nonsense)("to a client are never %s", (_what, message) => {
    expect(() => readToClient(message)).toThrow(MalformedError);
  });

  it("may hold fields of a newer peer", () => {
    expect(readToClient(["welcome", { ...welcome(), motto: "on" }])).toEqual(["welcome", welcome()]);
    expect(readToServer(["ping", 1, "more"])).toEqual(["ping", 1]);
  });
});

describe("scopes", () => {
  // Whoever may do the right may do what stands on the left.
  const table: Record<string, readonly string[]> = {
    enqueue: ["enqueue", "work", "admin"],
    read: ["read", "work", "admin"],
    work: ["work", "admin"],
    admin: ["admin"],
  };
  it.each(SCOPES)("%s is allowed to those who have it, and to those above", (wanted) => {
    expect(SCOPES.filter((granted) => allows([granted], wanted)).sort()).toEqual(
      [...(table[wanted] ?? [])].sort(),
    );
    expect(allows([], wanted)).toBe(false);
  });
});

function welcome(): object {
  return {
    protocol: 2,
    server: "jobwright",
    label: "memory",
    scopes: ["admin"],
    credits: 256,
    heartbeatMs: 5_000,
    now: 1,
  };
}
