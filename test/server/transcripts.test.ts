// oxlint-disable vitest/no-conditional-expect -- what must hold depends on what the document says
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Failure, failure } from "../../src/wire/failure.ts";
import { unpackFrame } from "../../src/wire/frame.ts";
import { wireLimits } from "../../src/wire/limits.ts";
import { hello, PROTOCOL, welcome } from "../../src/wire/message.ts";
import { allows, METHODS, SCOPES } from "../../src/wire/methods.ts";
import { MalformedError, type Shape } from "../../src/wire/shape.ts";
import * as values from "../../src/wire/values.ts";
import { readOwn } from "../support/source-files.ts";
import { ARGS, interest, RESULTS } from "./support/arbitraries.ts";
import { RawClient } from "./support/raw-client.ts";
import { serving } from "./support/serving.ts";

// Goal: docs/reference/protocol.md is true: who writes a client by it writes one that works.
// Method: its transcripts are played against a real server by a client of libraries alone, and its tables are compared
// with the shapes: of each type, which fields there are, and which may be absent.

const document = readOwn("docs/reference/protocol.md");

/** Rows of the table under a heading, cells as written. */
function table(heading: string): string[][] {
  const section = new RegExp(`^#+ ${heading}\\n([\\s\\S]*?)(?=^#+ |(?![\\s\\S]))`, "m").exec(document)?.[1];
  if (section === undefined) throw new Error(`The document has no heading "${heading}".`);
  return [...section.matchAll(/^\| (`.*) \|$/gm)].map(([, row = ""]) => row.split(" | "));
}

const code = (cell = ""): string => /^`([^`]+)`/.exec(cell)?.[1] ?? "";

describe("the tables", () => {
  it("have every method with its scope, its repetition and the number of its arguments", () => {
    const told = table("Methods").map(([method, scope, repetition, args = ""]) => ({
      method: code(method),
      scope,
      repetition,
      args: args === "–" ? 0 : args.replace(", at most 32", "").split(", ").length,
    }));
    const known = Object.entries(METHODS).map(([method, { scope, repetition, args }]) => ({
      method,
      scope,
      repetition,
      args: args.length,
    }));
    expect(told).toEqual(known);
  });

  it("have every limit with its value", () => {
    const told = table("Limits").map(([name, value = ""]) => [code(name), Number(value.replaceAll(",", ""))]);
    expect(Object.fromEntries(told)).toEqual(wireLimits);
  });

  it("have every scope with what it includes", () => {
    const told = table("Security").map(([scope, includes = ""]) => [
      code(scope),
      [...includes.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    ]);
    const known = SCOPES.map((scope) => [
      scope,
      SCOPES.filter((other) => other !== scope && allows([scope], other)),
    ]);
    expect(told).toEqual(known);
  });

  it("have the kinds of all messages", () => {
    const told = table("Messages").map(([message = ""]) => /\["(\w+)"/.exec(message)?.[1]);
    expect(told).toEqual(
      ["hello", "call", "watch", "unwatch", "ping"].concat([
        "welcome",
        "refused",
        "answer",
        "failure",
        "wake",
        "pong",
        "bye",
      ]),
    );
  });

  it("name the version", () => {
    expect(document).toContain(`The version of the protocol is **${PROTOCOL}**.`);
  });
});

describe("the types", () => {
  type Probe = readonly [
    shape: { in(value: unknown): unknown; out(value: never): unknown },
    samples: fc.Arbitrary<unknown>,
  ];
  /** What stands somewhere inside a value that has a shape of its own. */
  function inside(
    shape: { in(value: unknown): unknown; out(value: never): unknown },
    arbitrary: fc.Arbitrary<unknown>,
    take: (packed: never) => unknown,
    put: (value: unknown) => unknown,
  ): Probe {
    return [
      { out: (value) => take(shape.out(value) as never), in: (value) => shape.in(put(value)) },
      arbitrary,
    ];
  }
  const arg = (method: keyof typeof ARGS, index: number): fc.Arbitrary<unknown> =>
    (ARGS[method] as fc.Arbitrary<readonly unknown[]>).map((args) => args[index]);
  const first = ([one]: readonly unknown[]): unknown => one;
  const one = (value: unknown): unknown => [value];
  const field =
    (key: string) =>
    (packed: Readonly<Record<string, readonly unknown[]>>): unknown =>
      packed[key]?.[0];
  const lease = { id: 1, generation: 0, token: "t" };
  const empty = { known: true, jobs: [], asks: [] };
  const line = fc.string();

  const PROBES: Readonly<Record<string, Probe>> = {
    Hello: [
      hello,
      fc.record({ protocol: fc.nat(9), client: line, token: line }, { requiredKeys: ["protocol", "client"] }),
    ],
    Welcome: [
      welcome,
      fc.record({
        protocol: fc.nat(9),
        server: line,
        label: line,
        scopes: fc.constant(["read"]),
        credits: fc.constant(1),
        heartbeatMs: fc.constant(1),
        now: fc.constant(1),
      }),
    ],
    Failure: [
      failure as Shape<Failure>,
      fc.record(
        { name: line, message: line, code: line, details: line },
        { requiredKeys: ["name", "message"] },
      ),
    ],
    NewJob: inside(
      values.groups,
      arg("enqueue", 0),
      (groups: readonly (readonly unknown[])[]) => groups[0]?.[0],
      (job) => [[job]],
    ),
    JobDefaults: inside(values.definitions, arg("define", 0), first, one),
    Retention: inside(
      values.definitions,
      arg("define", 0),
      ([job]: readonly { retention: unknown }[]) => job?.retention,
      (retention) => [{ ...DEFAULTS, retention }],
    ),
    Lease: [values.lease, arg("note", 0)],
    ClaimRequest: [values.claimRequest, arg("claim", 0)],
    QueueRequest: inside(values.claimRequest, arg("claim", 0), field("queues"), (queue) => ({
      processId: "p",
      token: "t",
      queues: [queue],
      starts: [],
    })),
    ClaimResult: [values.claimResult, RESULTS.claim],
    ClaimedJob: inside(values.claimResult, RESULTS.claim, field("jobs"), (job) => ({
      ...empty,
      jobs: [job],
    })),
    Ask: inside(values.claimResult, RESULTS.claim, field("asks"), (ask) => ({ ...empty, asks: [ask] })),
    Settlement: inside(values.settlements, arg("settle", 0), first, one),
    JobError: inside(
      values.settlements,
      arg("settle", 0),
      ([settlement]: readonly { outcome: { error?: unknown } }[]) => settlement?.outcome.error,
      (value) => [{ lease, outcome: { state: "dead", error: value }, startedAt: 1 }],
    ),
    Exchanged: [values.exchanged, RESULTS.exchange],
    Note: [values.note, arg("note", 1)],
    Beat: [values.beat, arg("beat", 0)],
    ServedQueue: inside(values.beat, arg("beat", 0), field("queues"), (queue) => ({
      id: "p",
      host: "h",
      pid: 1,
      lostAfterMs: 1,
      queues: [queue],
      holds: [],
      starts: [],
    })),
    BeatResult: [values.beatResult, RESULTS.beat],
    Interest: [values.interest, interest],
    Promoted: [values.promoted, RESULTS.promote],
    RescueRequest: [values.rescueRequest, arg("rescue", 0)],
    RescuedJob: inside(values.rescued, RESULTS.rescue, first, one),
    StoredJob: inside(
      values.page,
      RESULTS.list,
      ({ jobs: [job] }: { readonly jobs: readonly unknown[] }) => job,
      (job) => ({ jobs: [job] }),
    ),
    ListQuery: [values.listQuery, arg("list", 0)],
    Page: [values.page, RESULTS.list],
    CountQuery: [values.countQuery, arg("count", 0)],
    Count: [values.counted, RESULTS.count],
    AttemptEntry: inside(values.attemptEntries, RESULTS.attempts, first, one),
    Lanes: [values.lanes, RESULTS.lanes],
    LaneInfo: inside(values.lanes, RESULTS.lanes, field("lanes"), (lane) => ({
      lanes: [lane],
      pausedQueues: [],
    })),
    ProcessInfo: inside(values.processes, RESULTS.processes, first, one),
    LaneTarget: [values.laneTarget, arg("configure", 0)],
    LaneSettings: [values.laneSettings, arg("configure", 1)],
  };

  it("that have a table are all compared", () => {
    const types = document.slice(document.indexOf("\n## Types\n"), document.indexOf("\n## Transcripts\n"));
    const headings = [...types.matchAll(/^### (\w+)\n(?:(?!^#)[\s\S])*?^\| field \|/gm)].map(
      ([, name]) => name,
    );
    expect(headings).toEqual(Object.keys(PROBES));
  });

  it.each(Object.entries(PROBES))("%s has the fields that the document says", (name, [shape, arbitrary]) => {
    const told = new Map(table(name).map(([cell = ""]) => [code(cell), cell.endsWith("?")]));
    const seen = new Set<string>();
    const samples = fc.sample(arbitrary, { seed: 7, numRuns: 80 }).flatMap((sample) => {
      const packed = shape.out(sample as never) as Record<string, unknown> | undefined;
      return packed === undefined ? [] : [packed];
    });
    for (const packed of samples) {
      for (const key of Object.keys(packed)) {
        seen.add(key);
        const { [key]: _left, ...rest } = packed;
        if (told.get(key) === true) expect(() => shape.in(rest), `without ${key}`).not.toThrow();
        else expect(() => shape.in(rest), `without ${key}`).toThrow(MalformedError);
      }
    }
    expect([...seen].sort()).toEqual([...told.keys()].sort());
  });
});

describe("the transcripts", () => {
  const transcripts = [...document.matchAll(/^```transcript( tokens)?\n([\s\S]*?)^```$/gm)].map(
    ([, tokens, text = ""], index) => {
      const before = document.slice(0, document.indexOf(text));
      const title = [...before.matchAll(/^### (.*)$/gm)].at(-1)?.[1] ?? "";
      return {
        name: `${index + 1}: ${title}`,
        tokens: tokens !== undefined,
        lines: text.trimEnd().split("\n"),
      };
    },
  );

  it("are there", () => {
    expect(transcripts.length).toBeGreaterThanOrEqual(7);
    // Each method that most clients need is shown, in calls and in answers.
    const shown = new Set([...document.matchAll(/^> \["call", \d+, "(\w+)"/gm)].map(([, method]) => method));
    for (const method of [
      "enqueue",
      "claim",
      "settle",
      "exchange",
      "beat",
      "note",
      "get",
      "list",
      "count",
      "change",
    ]) {
      expect(shown).toContain(method);
    }
  });

  it("begin with the bytes that the document shows", () => {
    const hex = /^```hex\n([0-9a-f \n]+)```$/m.exec(document)?.[1] ?? "";
    const bytes = Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
    expect(unpackFrame(bytes)).toEqual([JSON.parse(transcripts[0]?.lines[0]?.slice(2) ?? "")]);
  });

  it.each(transcripts)("$name", async ({ lines, tokens }) => {
    await using stage = await serving(
      tokens ? { tokens: [{ token: "enqueue-only-0123456789", scopes: ["enqueue"] }] } : {},
    );
    await using client = await RawClient.connect(
      stage.server.url,
      tokens ? { headers: { authorization: "Bearer enqueue-only-0123456789" } } : {},
    );
    const ids = new Map<string, number>();
    const expected: unknown[] = [];
    let isEnded = false;
    const settle = async (): Promise<void> => {
      while (expected.length > 0) {
        const message = await client.next();
        const at = expected.findIndex((one) => fits(one, message, new Map(ids)));
        expect(
          at,
          `${JSON.stringify(message)} is none of ${JSON.stringify(expected)}`,
        ).toBeGreaterThanOrEqual(0);
        fits(expected.splice(at, 1)[0], message, ids);
      }
    };
    for (const line of lines) {
      const [sign, text] = [line.slice(0, 2), line.slice(2).trim()];
      if (sign !== "< ") await settle();
      if (sign === "< ") expected.push(JSON.parse(text));
      else if (sign === "> ") client.send(filled(JSON.parse(text), ids) as readonly unknown[]);
      else if (line === "-- the server is stopped") void stage.server.stop();
      else {
        const reason = /^-- the server ends the connection: (.*)$/.exec(line)?.[1];
        expect(reason, `The line "${line}"`).toBeDefined();
        expect((await client.closed).reason).toBe(reason);
        isEnded = true;
      }
    }
    await settle();
    if (!isEnded) {
      // Nothing comes that is not in the document.
      client.send(["ping", 1_000_000]);
      expect(await client.next()).toEqual(["pong", 1_000_000, expect.any(Number)]);
    }
    expect(client.unread).toEqual([]);
  });

  it("would be caught lying", () => {
    const ids = new Map([["1", 7]]);
    expect(fits(["answer", 1, "<id 1>"], ["answer", 1, 7], ids)).toBe(true);
    for (const other of [
      ["answer", 1, 8],
      ["answer", 2, 7],
      ["answer", 1],
      ["answer", 1, 7, 7],
      ["answer", 1, "7"],
    ]) {
      expect(fits(["answer", 1, "<id 1>"], other, ids)).toBe(false);
    }
    expect(fits({ a: 1 }, { a: 1, b: 2 }, ids)).toBe(false);
    expect(fits({ a: "<time>" }, { a: "soon" }, ids)).toBe(false);
    expect(fits(null, undefined, ids)).toBe(false);
  });
});

/** Whether a message is what the document says, its placeholders filled with what came. */
function fits(expected: unknown, actual: unknown, ids: Map<string, number>): boolean {
  if (expected === "<time>") return typeof actual === "number";
  const id = typeof expected === "string" ? /^<id (\w+)>$/.exec(expected)?.[1] : undefined;
  if (id !== undefined) {
    if (typeof actual !== "number") return false;
    if (!ids.has(id)) ids.set(id, actual);
    return ids.get(id) === actual;
  }
  if (typeof expected !== "object" || expected === null) return expected === actual;
  if (typeof actual !== "object" || actual === null || Array.isArray(expected) !== Array.isArray(actual))
    return false;
  const keys = Object.keys(expected);
  if (keys.length !== Object.keys(actual).length) return false;
  return keys.every(
    (key) =>
      Object.hasOwn(actual, key) &&
      fits((expected as Record<string, unknown>)[key], (actual as Record<string, unknown>)[key], ids),
  );
}

/** A message to send, its placeholders filled with what came before. */
function filled(value: unknown, ids: ReadonlyMap<string, number>): unknown {
  if (typeof value === "string") {
    const id = /^<id (\w+)>$/.exec(value)?.[1];
    if (id === undefined) return value;
    const known = ids.get(id);
    if (known === undefined) throw new Error(`The transcript uses "${value}" before it came.`);
    return known;
  }
  if (Array.isArray(value)) return value.map((one) => filled(one, ids));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one, ids)]));
}

const DEFAULTS = {
  name: "n",
  queue: "q",
  maxRetries: 0,
  backoff: { kind: "fixed", delayMs: 1 },
  timeoutMs: null,
  tags: [],
  priority: 0,
};
