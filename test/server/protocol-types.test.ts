// oxlint-disable vitest/no-conditional-expect -- what must hold depends on what the document says
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Failure, failure } from "../../src/wire/failure.ts";
import { hello, welcome } from "../../src/wire/message.ts";
import { MalformedError, type Shape } from "../../src/wire/shape.ts";
import * as values from "../../src/wire/values.ts";
import { ARGS, interest } from "./support/arbitraries.ts";
import { RESULTS } from "./support/arbitrary-results.ts";
import { code, document, table } from "./support/protocol-document.ts";

// Goal: docs/reference/protocol.md is true of every type: which fields there are, and which may be absent.
// Method: its tables are compared with the shapes that the server checks with.

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
  /** A part of a job that is stored. */
  const jobPart = (key: "unique" | "limit"): Probe =>
    inside(
      values.groups,
      arg("enqueue", 0),
      (groups: readonly (readonly Readonly<Record<string, unknown>>[])[]) =>
        groups[0]?.[0]?.[key] ?? undefined,
      (part) => [[{ ...DEFAULTS, payload: "1", retention: RETENTION, [key]: part }]],
    );
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
    UniqueKey: jobPart("unique"),
    LimitKey: jobPart("limit"),
    JobDefaults: inside(values.definitions, arg("define", 0), first, one),
    Retention: inside(
      values.definitions,
      arg("define", 0),
      ([job]: readonly { retention: unknown }[]) => job?.retention,
      (retention) => [{ ...DEFAULTS, retention }],
    ),
    EnqueueResult: inside(
      values.groupResults,
      RESULTS.enqueue,
      ([group]: readonly { readonly jobs?: readonly unknown[] }[]) => group?.jobs?.[0],
      (result) => [{ ok: true, jobs: [result] }],
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
    LogLine: inside(values.note, arg("note", 1), field("log"), (said) => ({ log: [said] })),
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
    DueSchedules: [values.dueSchedules, RESULTS.dueSchedules],
    StoredSchedule: inside(values.schedules, RESULTS.schedules, first, one),
    ScheduleWrite: inside(values.scheduleWrites, arg("writeSchedules", 0), first, one),
    RescueRequest: [values.rescueRequest, arg("rescue", 0)],
    RescuedJob: inside(values.rescued, RESULTS.rescue, first, one),
    StoredJob: inside(
      values.page,
      RESULTS.list,
      ({ jobs: [job] }: { readonly jobs: readonly unknown[] }) => job,
      (job) => ({ jobs: [job] }),
    ),
    HistoryEntry: inside(
      values.page,
      RESULTS.list,
      ({ jobs: [job] }: { readonly jobs: readonly { readonly events?: readonly unknown[] }[] }) =>
        job?.events?.[0],
      (event) => ({ jobs: [{ ...STORED, events: [event] }] }),
    ),
    ListQuery: [values.listQuery, arg("list", 0)],
    Page: [values.page, RESULTS.list],
    CountQuery: [values.countQuery, arg("count", 0)],
    Count: [values.counted, RESULTS.count],
    AttemptEntry: inside(values.attemptEntries, RESULTS.attempts, first, one),
    LogEntry: inside(values.logEntries, RESULTS.logs, first, one),
    KeyQuery: [values.keyQuery, arg("keys", 0)],
    KeyPage: [values.keyPage, RESULTS.keys],
    HeldKey: inside(values.keyPage, RESULTS.keys, field("keys"), (key) => ({ keys: [key] })),
    StatsQuery: [values.statsQuery, arg("stats", 0)],
    Stats: [values.stats, RESULTS.stats],
    Flow: inside(
      values.stats,
      RESULTS.stats,
      ({ hour }: { readonly hour: unknown }) => hour,
      (flow) => ({ hour: flow, day: FLOW, month: FLOW, total: FLOW }),
    ),
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

const DEFAULTS = {
  name: "n",
  queue: "q",
  maxRetries: 0,
  backoff: { kind: "fixed", delayMs: 1 },
  timeoutMs: null,
  tags: [],
  priority: 0,
};
const RETENTION = { completedMs: 1, cancelledMs: null, deadMs: null };
const STORED = {
  ...DEFAULTS,
  payload: "1",
  retention: RETENTION,
  id: 1,
  state: "available",
  generation: 0,
  attempt: 0,
  runAt: 1,
  marked: false,
  failures: 0,
  snoozes: 0,
  releases: 0,
  createdAt: 1,
};
const FLOW = { enqueued: 0, completed: 0, cancelled: 0, dead: 0 };
