import type { Storage } from "../storage/storage.ts";
import { orNothing, type Shape } from "./shape.ts";
import * as value from "./values.ts";

/** What somebody may do. A method belongs to one of them. */
export const SCOPES = ["enqueue", "read", "work", "admin"] as const;
/** One of them; see docs/server.md. */
export type Scope = (typeof SCOPES)[number];

/** What is lost when the answer to a call is: nothing, or a call that was made twice. */
type Repetition =
  /** Made again by the client itself, as often as it takes. */
  | "repeated"
  /** Given up when the connection ends, because a second time is another call: its caller looks and decides. */
  | "once";

/** The methods of a storage that cross the wire as a call and its answer. */
export type MethodName = Exclude<
  keyof {
    [
      K in keyof Storage as NonNullable<Storage[K]> extends (...args: never[]) => Promise<unknown> ? K : never
    ]: 1;
  },
  "open" | "close"
>;

type Args<M extends MethodName> = Parameters<NonNullable<Storage[M]>>;
type Result<M extends MethodName> = Awaited<ReturnType<NonNullable<Storage[M]>>>;

type Shapes<A extends readonly unknown[]> = { readonly [K in keyof A]-?: Shape<A[K]> };

/** How one method crosses. */
export interface Method<M extends MethodName = MethodName> {
  readonly scope: Scope;
  readonly repetition: Repetition;
  readonly args: Shapes<Args<M>>;
  readonly result: Shape<Result<M>>;
}

/** A call without result. */
const nothing: Shape<void> = { out: () => null, in: () => undefined };

/** An answer in which a missing entry is nil. */
function withGaps<T>(shape: Shape<readonly (T | null)[]>): Shape<(T | undefined)[]> {
  return {
    out: (values) => shape.out(values.map((entry) => entry ?? null)),
    in: (values) => shape.in(values).map((entry) => entry ?? undefined),
  };
}

/** Every call of the protocol, in the order of the storage contract. */
export const METHODS: { readonly [M in MethodName]: Method<M> } = {
  enqueue: {
    scope: "enqueue",
    repetition: "repeated",
    args: [value.groups, orNothing(value.token)],
    result: value.groupResults,
  },
  claim: { scope: "work", repetition: "once", args: [value.claimRequest], result: value.claimResult },
  settle: {
    scope: "work",
    repetition: "repeated",
    args: [value.settlements],
    result: value.settleResults,
  },
  exchange: {
    scope: "work",
    repetition: "once",
    args: [value.settlements, value.claimRequest],
    result: value.exchanged,
  },
  note: { scope: "work", repetition: "once", args: [value.lease, value.note], result: value.saved },
  beat: { scope: "work", repetition: "repeated", args: [value.beat], result: value.beatResult },
  promote: { scope: "work", repetition: "repeated", args: [value.limit], result: value.promoted },
  dueSchedules: { scope: "work", repetition: "repeated", args: [value.limit], result: value.dueSchedules },
  // Whoever runs jobs fires what is due and sets right what its code declares. A write counts for the revision it has
  // seen: made again after it counted, it would be told that somebody else was there. Its caller looks, and decides.
  writeSchedules: {
    scope: "work",
    repetition: "once",
    args: [value.scheduleWrites],
    result: value.scheduleResults,
  },
  rescue: { scope: "work", repetition: "once", args: [value.rescueRequest], result: value.rescued },
  prune: { scope: "work", repetition: "repeated", args: [value.limit], result: value.pruned },
  get: { scope: "read", repetition: "repeated", args: [value.lookedIds], result: withGaps(value.jobs) },
  list: { scope: "read", repetition: "repeated", args: [value.listQuery], result: value.page },
  count: { scope: "read", repetition: "repeated", args: [value.countQuery], result: value.counted },
  attempts: {
    scope: "read",
    repetition: "repeated",
    args: [value.jobId],
    result: value.attemptEntries,
  },
  logs: { scope: "read", repetition: "repeated", args: [value.jobId], result: value.logEntries },
  schedules: { scope: "read", repetition: "repeated", args: [], result: value.schedules },
  keys: { scope: "read", repetition: "repeated", args: [value.keyQuery], result: value.keyPage },
  stats: { scope: "read", repetition: "repeated", args: [value.statsQuery], result: value.stats },
  lanes: { scope: "read", repetition: "repeated", args: [], result: value.lanes },
  processes: { scope: "read", repetition: "repeated", args: [], result: value.processes },
  change: {
    scope: "admin",
    repetition: "once",
    args: [value.ids, value.change],
    result: value.changeResults,
  },
  define: { scope: "enqueue", repetition: "repeated", args: [value.definitions], result: nothing },
  configure: {
    scope: "admin",
    repetition: "repeated",
    args: [value.laneTarget, value.laneSettings],
    result: nothing,
  },
};

/** What a scope includes besides itself. A worker's handlers enqueue, and look at what they wait for. */
const INCLUDES: Readonly<Record<Scope, readonly Scope[]>> = {
  enqueue: [],
  read: [],
  work: ["enqueue", "read"],
  admin: ["enqueue", "read", "work"],
};

export function allows(granted: readonly Scope[], wanted: Scope): boolean {
  return granted.some((scope) => scope === wanted || INCLUDES[scope].includes(wanted));
}
