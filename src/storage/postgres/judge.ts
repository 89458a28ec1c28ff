import type { JobId } from "../../job/job.ts";
import type { EnqueueResult, GroupResult, NewJob, Refusal } from "../storage.ts";
import { givenKey, hashOf, type Taken } from "./given-ids.ts";
import { keyIdOf } from "./extra.ts";
import { Holder, type KeyState, type KeyStates } from "./unique-keys.ts";

/** What comes of a batch. */
export interface Judgement {
  /** The jobs to store, in order. */
  readonly created: readonly NewJob[];
  /** Jobs that wait and take over what others say, in order; each comes after so many of those that are stored. */
  readonly replaced: readonly { readonly holder: Holder; readonly by: NewJob; readonly after: number }[];
  /** The answer, once the ids of the stored jobs are known. */
  answer(ids: readonly JobId[]): GroupResult[];
}

type Later<T> = (ids: readonly JobId[]) => T;

/**
 * Group by group and job by job, as if each was stored before the next is looked at.
 *
 * @param given who has the given ids, and is added to
 * @param keys who holds the unique keys, and is changed
 */
export function judge(
  groups: readonly (readonly NewJob[])[],
  given: Map<string, Taken>,
  keys: KeyStates,
): Judgement {
  const created: NewJob[] = [];
  const replaced: { holder: Holder; by: NewJob; after: number }[] = [];
  const stateOf = ({ unique }: NewJob): KeyState | undefined =>
    unique === undefined ? undefined : keys.get(keyIdOf(unique));

  const judgeOne = (job: NewJob): Later<EnqueueResult> => {
    const existing = job.givenId === undefined ? undefined : given.get(givenKey(job));
    if (existing !== undefined) return (ids) => ({ status: "existing", id: idOf(existing, ids) });
    const state = stateOf(job);
    const holder = state?.holder;
    if (state?.isHeld === true && holder !== undefined) {
      if (job.unique?.onConflict !== "replace" || !holder.isReplacedBy(job)) {
        return (ids) => ({ status: "existing", id: holder.idOf(ids) });
      }
      replaced.push({ holder, by: job, after: created.length });
      take(state, holder, job);
      return (ids) => ({ status: "replaced", id: holder.idOf(ids) });
    }
    const index = created.push(job) - 1;
    if (job.givenId !== undefined) {
      given.set(givenKey(job), { hash: hashOf(job.payload), id: 0, created: index });
    }
    if (state !== undefined) {
      // Nobody of this call has taken it before: what the last one left is handed on to this one.
      state.isHeir = state.taken === undefined && job.unique?.inherit === true;
      take(state, Holder.created(index, job), job);
    }
    return (ids) => ({ status: "created", id: ids[index] as JobId });
  };

  const answers = groups.map((group): Later<GroupResult> => {
    const refused = firstDuplicate(group, given) ?? firstHeld(group, stateOf);
    if (refused !== undefined) {
      const { index, refusal } = refused;
      return (ids) => ({ ok: false, refusal: refusal(ids), index });
    }
    const jobs = group.map(judgeOne);
    return (ids) => ({ ok: true, jobs: jobs.map((one) => one(ids)) });
  });
  return { created, replaced, answer: (ids) => answers.map((one) => one(ids)) };
}

/** A job has just taken the key, and waits. */
function take(state: KeyState, holder: Holder, { unique }: NewJob): void {
  if (unique === undefined) return;
  state.holder = holder;
  state.taken = unique;
  state.isHeld =
    unique.while !== null || unique.forMs === null || (unique.forMs !== undefined && unique.forMs > 0);
}

function idOf({ id, created }: Taken, ids: readonly JobId[]): JobId {
  return created === undefined ? id : (ids[created] as JobId);
}

interface Refused {
  readonly index: number;
  readonly refusal: Later<Refusal>;
}

/** The first job of a group whose given id belongs to another payload, in the store or in the group. */
function firstDuplicate(group: readonly NewJob[], taken: ReadonlyMap<string, Taken>): Refused | undefined {
  const inGroup = new Map<string, string>();
  for (const [index, job] of group.entries()) {
    if (job.givenId === undefined) continue;
    const key = givenKey(job);
    const hash = hashOf(job.payload);
    const by = taken.get(key);
    if (by !== undefined && by.hash !== hash) {
      return { index, refusal: (ids) => ({ kind: "duplicate-id", existing: idOf(by, ids) }) };
    }
    const other = inGroup.get(key);
    if (other !== undefined && other !== hash) {
      return { index, refusal: () => ({ kind: "duplicate-id", existing: 0 }) };
    }
    inGroup.set(key, hash);
  }
  return undefined;
}

/** The first job of a group to which it is an error that its key is held, by a stored job or by one of the group. */
function firstHeld(
  group: readonly NewJob[],
  stateOf: (job: NewJob) => KeyState | undefined,
): Refused | undefined {
  const inGroup = new Set<KeyState>();
  for (const [index, job] of group.entries()) {
    const state = stateOf(job);
    if (state === undefined) continue;
    const holder = state.isHeld ? state.holder : undefined;
    if (job.unique?.onConflict === "error" && (holder !== undefined || inGroup.has(state))) {
      return { index, refusal: (ids) => ({ kind: "key-held", existing: holder?.idOf(ids) ?? 0 }) };
    }
    inGroup.add(state);
  }
  return undefined;
}
