import { replaceHead } from "../../job/change.ts";
import type { JobId, JobState } from "../../job/job.ts";
import { isReplaceable, isSameLimit } from "../../job/key.ts";
import { instantOf } from "../../job/lifecycle.ts";
import type { EnqueueResult, GroupResult, NewJob } from "../storage.ts";
import type { DurableTables } from "./environments.ts";
import { wholeKey } from "./keys.ts";
import type { Ledger } from "./ledger.ts";
import { decodeSpec } from "./records.ts";

/** Store a group whole, or refuse it before anything of it is stored. */
export function storeGroup(ledger: Ledger, group: readonly NewJob[]): GroupResult {
  const refused = sameIdOf(ledger, group) ?? heldKeyOf(ledger, group);
  if (refused !== undefined) return { ok: false, ...refused };
  return { ok: true, jobs: group.map((job) => storeOne(ledger, job)) };
}

type Refused = Omit<GroupResult & { readonly ok: false }, "ok">;

/** The first job of a group whose given id belongs to another payload, in the store or in the group. */
function sameIdOf(ledger: Ledger, group: readonly NewJob[]): Refused | undefined {
  let inGroup: Map<string, string> | undefined;
  for (const [index, { name, givenId, payload }] of group.entries()) {
    if (givenId === undefined) continue;
    const existing = ledger.given(name, givenId);
    if (existing !== undefined && payloadOf(ledger.tables, existing) !== payload) {
      return { refusal: { kind: "duplicate-id", existing }, index };
    }
    inGroup ??= new Map();
    const key = JSON.stringify([name, givenId]);
    const other = inGroup.get(key);
    // The other one is of this group, so it is not stored either and has no id.
    if (other !== undefined && other !== payload) {
      return { refusal: { kind: "duplicate-id", existing: NO_JOB }, index };
    }
    inGroup.set(key, payload);
  }
  return undefined;
}

function payloadOf(tables: DurableTables, id: JobId): string | undefined {
  const text = tables.job.get(wholeKey(id));
  return text === undefined ? undefined : decodeSpec(text).payload;
}

/** The first job of a group to which it is an error that its key is held, by a stored job or by one of the group. */
function heldKeyOf({ uniqueKeys }: Ledger, group: readonly NewJob[]): Refused | undefined {
  let inGroup: Set<string> | undefined;
  for (const [index, { unique }] of group.entries()) {
    if (unique === undefined) continue;
    const key = JSON.stringify([unique.scope, unique.key]);
    if (unique.onConflict === "error") {
      const held = uniqueKeys.heldBy(unique);
      if (held !== undefined) return { refusal: { kind: "key-held", existing: held.id }, index };
      if (inGroup?.has(key) === true) return { refusal: { kind: "key-held", existing: NO_JOB }, index };
    }
    // Whatever becomes of this one, its key is held afterwards.
    inGroup ??= new Set();
    inGroup.add(key);
  }
  return undefined;
}

/** Ids begin at 1. */
const NO_JOB: JobId = 0;

function storeOne(ledger: Ledger, job: NewJob): EnqueueResult {
  const { name, givenId, unique, later } = job;
  if (givenId !== undefined) {
    const existing = ledger.given(name, givenId);
    if (existing !== undefined) return { status: "existing", id: existing };
  }
  const runAt = later === undefined ? ledger.now : instantOf(later, ledger.now);
  if (unique === undefined) return { status: "created", id: ledger.add(job, runAt) };
  const held = ledger.uniqueKeys.heldBy(unique);
  if (held !== undefined) return meet(ledger, held.id, job, runAt);
  const before = unique.inherit === true ? ledger.uniqueKeys.row(unique) : undefined;
  const id = ledger.add(job, runAt);
  if (before !== undefined) ledger.inherit(id, before.id);
  ledger.uniqueKeys.take(id, unique);
  return { status: "created", id };
}

/** Another job holds its key: it stays as it is, or takes over what the new one says. */
function meet(ledger: Ledger, id: JobId, by: NewJob, runAt: number): EnqueueResult {
  const { unique } = by;
  const holder = unique?.onConflict === "replace" ? ledger.job(id) : undefined;
  if (unique === undefined || holder === undefined) return { status: "existing", id };
  const { lane, record, spec } = holder;
  const state = ledger.stateOf(id) as JobState;
  if (!isReplaceable({ name: lane.name, queue: lane.queue, state }, by)) return { status: "existing", id };
  const limit = spec.more?.limit;
  const head = replaceHead(record.head, limit, by, runAt, ledger.now);
  const staysInPlace =
    head.state === record.head.state &&
    head.state !== "scheduled" &&
    head.priority === record.head.priority &&
    isSameLimit(limit, by.limit);
  const replaced = ledger.replaceSpec(holder, by);
  if (staysInPlace) {
    ledger.amend(replaced, { ...record, head });
  } else {
    ledger.leaveAgain(holder);
    ledger.leave(holder);
    ledger.arrive(replaced, head);
  }
  ledger.admit(limit);
  ledger.uniqueKeys.take(id, unique);
  return { status: "replaced", id };
}
