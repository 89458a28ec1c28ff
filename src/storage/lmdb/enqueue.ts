import type { Clock } from "../../clock.ts";
import { limits } from "../../job/limits.ts";
import type { EnqueueResult, GroupResult, NewJob, Refusal } from "../storage.ts";
import type { DurableTables } from "./environments.ts";
import { instantKey, LOWEST_KEY, textKey } from "./keys.ts";
import type { Ledger } from "./ledger.ts";
import type { Store } from "./store.ts";
import { storeGroup } from "./store-group.ts";

/**
 * Jobs in one transaction, unless a group is larger: more would keep others waiting. A worker that reads
 * ahead settles up to 500 and its slots at once: that must fit.
 */
export const HOLD_JOBS = 550;

/**
 * Store groups of jobs. A large batch takes several transactions; each keeps its answers with the batch
 * id, so that a repetition goes on where the last attempt broke off.
 */
export async function enqueue(
  store: Store,
  clock: Clock,
  groups: readonly (readonly NewJob[])[],
  batchId: string | undefined,
): Promise<GroupResult[]> {
  let before: readonly GroupResult[] = [];
  for (;;) {
    const { answers, isDone } = await store.hold(() => {
      const batch = batchId === undefined ? undefined : readBatch(store.durable, batchId);
      const known = batch?.answers ?? (batchId === undefined ? before : []);
      // Seen before and finished: the answers of then, whatever is asked now.
      if (known.length >= (batch?.groups ?? groups.length)) return { answers: known, isDone: true };
      const slice = sliceFrom(groups, known.length);
      let all: GroupResult[] = [];
      const now = clock.now();
      store.writeDurable(now, (ledger) => {
        all = [...known, ...slice.map((group) => storeGroup(ledger, group))];
        if (batchId !== undefined)
          saveBatch(ledger, batchId, batch ?? { at: now, groups: groups.length }, all);
      });
      return { answers: all, isDone: all.length >= groups.length };
    });
    if (isDone) return [...answers];
    before = answers;
  }
}

function sliceFrom(groups: readonly (readonly NewJob[])[], start: number): readonly (readonly NewJob[])[] {
  let jobs = 0;
  let end = start;
  while (end < groups.length && (end === start || jobs + (groups[end]?.length ?? 0) <= HOLD_JOBS)) {
    jobs += groups[end]?.length ?? 0;
    end++;
  }
  return groups.slice(start, end);
}

// ── Batches ──────────────────────────────────────────────────────────────────

interface Batch {
  readonly at: number;
  /** How many there were; with fewer answers it was broken off. */
  readonly groups: number;
  readonly answers: readonly GroupResult[];
}

function readBatch(tables: DurableTables, batchId: string): Batch | undefined {
  const text = tables.batch.get(textKey(batchId));
  if (text === undefined) return undefined;
  const [at, size, groups] = JSON.parse(text) as [
    number,
    number,
    (Answer[] | { refusal: Refusal; index: number })[],
  ];
  return {
    at,
    groups: size,
    answers: groups.map((group) =>
      Array.isArray(group) ? { ok: true, jobs: group.map(readAnswer) } : { ok: false, ...group },
    ),
  };
}

function saveBatch(
  ledger: Ledger,
  batchId: string,
  { at, groups, answers: before }: Pick<Batch, "at" | "groups"> & Partial<Batch>,
  answers: readonly GroupResult[],
): void {
  const texts = answers.map((answer) =>
    answer.ok ? answer.jobs.map(writeAnswer) : { refusal: answer.refusal, index: answer.index },
  );
  ledger.tables.batch.put(textKey(batchId), JSON.stringify([at, groups, texts]));
  if (before === undefined) ledger.tables.batchAge.put(instantKey(at, ledger.nextNumber()), batchId);
}

/** An id; negative when the job existed before, in a list when it was replaced. */
type Answer = number | [number];

function writeAnswer({ status, id }: EnqueueResult): Answer {
  return status === "created" ? id : status === "existing" ? -id : [id];
}

function readAnswer(answer: Answer): EnqueueResult {
  if (typeof answer !== "number") return { status: "replaced", id: answer[0] };
  return answer > 0 ? { status: "created", id: answer } : { status: "existing", id: -answer };
}

/** Forget batches that are old enough. Inside a durable transaction. */
export function forgetBatches(ledger: Ledger, limit: number): void {
  for (const { key, value } of oldBatches(ledger.tables, ledger.now, limit)) {
    ledger.tables.batch.remove(textKey(value));
    ledger.tables.batchAge.remove(key);
  }
}

export function oldBatches(
  tables: DurableTables,
  now: number,
  limit: number,
): { readonly key: Uint8Array; readonly value: string }[] {
  return tables.batchAge.rows(
    LOWEST_KEY,
    instantKey(now - limits.batchMemoryMs, Number.MAX_SAFE_INTEGER),
    limit,
  );
}
