import { isReplaceable, type UniqueKey } from "../../job/key.ts";
import type { JobId, JobState } from "../../job/job.ts";
import { checkKeyQuery } from "../page.ts";
import type { HeldKey, KeyPage, KeyQuery, NewJob } from "../storage.ts";
import { InvalidOptionError } from "../../errors.ts";
import type { Queryable } from "./database.ts";
import { keyIdOf } from "./extra.ts";
import { stateOf } from "./state-number.ts";
import { type Store, textArray } from "./store.ts";
import { decodeText, encodeText } from "./text.ts";

/** A job that has taken a key: one that is stored, or that is about to be. */
export class Holder {
  readonly #id: JobId;
  readonly #index: number | undefined;
  readonly #waits: { readonly queue: string; readonly name: string; readonly state: JobState } | undefined;

  private constructor(id: JobId, index: number | undefined, waits: Holder["waits"]) {
    this.#id = id;
    this.#index = index;
    this.#waits = waits;
  }

  static stored(id: JobId, job: Holder["waits"]): Holder {
    return new Holder(id, undefined, job);
  }

  static created(index: number, { queue, name }: NewJob): Holder {
    return new Holder(0, index, { queue, name, state: "scheduled" });
  }

  get waits(): { readonly queue: string; readonly name: string; readonly state: JobState } | undefined {
    return this.#waits;
  }

  /** @param ids of the jobs that were stored */
  idOf(ids: readonly JobId[]): JobId {
    return this.#index === undefined ? this.#id : (ids[this.#index] as JobId);
  }

  isReplacedBy(job: NewJob): boolean {
    return this.#waits !== undefined && isReplaceable(this.#waits, job);
  }
}

/** A unique key as it stands while a batch is judged. */
export interface KeyState {
  holder: Holder | undefined;
  isHeld: boolean;
  /** What is to be written of it: whoever takes it, or takes it again. */
  taken: UniqueKey | undefined;
  /** A job was stored that begins with what the last one of the key left. */
  isHeir: boolean;
}

/** The unique keys of a batch, by id, in the order of ids. */
export type KeyStates = ReadonlyMap<string, KeyState>;

/** Take the unique keys of jobs that are free, and look at the others. A text is the answer to a batch that was stored before. */
export async function takeKeys(
  tx: Queryable,
  store: Store,
  jobs: readonly NewJob[],
  batchId: string | undefined,
): Promise<KeyStates | string> {
  const wanted = new Map<string, { unique: UniqueKey; replaces: boolean }>();
  for (const { unique } of jobs) {
    if (unique === undefined) continue;
    const id = keyIdOf(unique);
    const replaces = unique.onConflict === "replace" || wanted.get(id)?.replaces === true;
    wanted.set(id, { unique, replaces });
  }
  if (wanted.size === 0) return new Map();
  const keys = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
  const [row] = await tx.query(
    store.statement("take_keys", "select $s.take_keys($1, $2::text::float8, $3::text::json)"),
    [
      batchId === undefined ? null : encodeText(batchId),
      store.now(),
      JSON.stringify(
        keys.map(([id, { unique, replaces }]) => ({
          i: id,
          s: encodeText(unique.scope),
          k: encodeText(unique.key),
          r: replaces,
        })),
      ),
    ],
  );
  const text = row?.[0] as string;
  if (text.startsWith("[{")) return text;
  const found = JSON.parse(text) as [
    job: JobId | null,
    state: number | null,
    isHeld: boolean,
    queue: string | null,
    name: string | null,
  ][];
  return new Map(
    keys.map(([id], index) => {
      const [job, state, isHeld, queue, name] = found[index] as (typeof found)[number];
      const waits =
        queue === null || name === null || state === null
          ? undefined
          : { queue: decodeText(queue), name: decodeText(name), state: stateOf(state) };
      return [
        id,
        {
          holder: job === null ? undefined : Holder.stored(job, waits),
          isHeld,
          taken: undefined,
          isHeir: false,
        },
      ];
    }),
  );
}

/** Write who has taken them. Those that were taken for nobody are let go of. */
export async function keepKeys(
  tx: Queryable,
  store: Store,
  keys: KeyStates,
  ids: readonly JobId[],
  remembered: { readonly batchId: string; readonly answer: string } | undefined,
): Promise<void> {
  if (keys.size === 0) return;
  const all = [...keys.values()];
  await tx.query(
    store.statement(
      "keep_keys",
      "select $s.keep_keys($1, $2::text::float8, $3, $4::text::bigint[], $5::text::uuid[], $6::text::smallint[], $7::text::float8[], $8::text::boolean[], $9::text::boolean[])",
    ),
    [
      remembered === undefined ? null : encodeText(remembered.batchId),
      store.now(),
      remembered?.answer ?? null,
      `{${all.map(({ holder, taken }) => (taken === undefined ? 0 : holder?.idOf(ids))).join()}}`,
      textArray([...keys.keys()]),
      `{${all.map(({ taken }) => holdsOf(taken)).join()}}`,
      `{${all.map(({ taken }) => forMsOf(taken)).join()}}`,
      `{${all.map(({ taken }) => taken?.inherit === true).join()}}`,
      `{${all.map(({ isHeir }) => isHeir).join()}}`,
    ],
  );
}

/** As in the column `holds`. */
function holdsOf(unique: UniqueKey | undefined): 0 | 1 | 2 {
  if (unique === undefined || unique.while === null) return 0;
  return unique.while === "waiting" ? 1 : 2;
}

function forMsOf(unique: UniqueKey | undefined): string {
  if (unique?.forMs === undefined) return "null";
  return unique.forMs === null ? "infinity" : String(unique.forMs);
}

/** Finished jobs that are to run again take their keys again. Answers those that cannot: another job holds the key. */
export async function retakeKeys(
  tx: Queryable,
  store: Store,
  jobs: readonly JobId[],
): Promise<ReadonlySet<JobId>> {
  if (jobs.length === 0) return new Set();
  const rows = await tx.query(
    store.statement("retake_keys", "select $s.retake_keys($1::text::float8, $2::text::bigint[])"),
    [store.now(), `{${jobs.join()}}`],
  );
  return new Set(rows.map(([id]) => Number(id)));
}

/**
 * Keys of a scope that are held now, in the order of their hashes.
 *
 * @throws InvalidOptionError
 */
export async function heldKeys(store: Store, query: KeyQuery): Promise<KeyPage> {
  checkKeyQuery(query);
  const { scope, key, limit, after } = query;
  if (after !== undefined && !CURSOR.test(after)) {
    throw new InvalidOptionError("after", after, "Use the `next` of a page of keys.");
  }
  const rows = await store.database.query(
    store.statement(
      "look_keys",
      "select * from $s.look_keys($1::text::float8, $2, $3::text::uuid, $4::text::uuid, $5::text::integer)",
    ),
    [
      store.now(),
      encodeText(scope),
      key === undefined ? null : keyIdOf({ scope, key }),
      key === undefined && after !== undefined ? after : "00000000-0000-0000-0000-000000000000",
      limit + 1,
    ],
  );
  const looked = rows.slice(0, limit);
  const keys = looked.flatMap(([, name, job, until, isHeld]): HeldKey[] =>
    isHeld === "t"
      ? [
          {
            key: decodeText(name as string),
            id: Number(job),
            ...(until === null ? {} : { until: until === "Infinity" ? null : Number(until) }),
          },
        ]
      : [],
  );
  return rows.length > limit ? { keys, next: looked.at(-1)?.[0] as string } : { keys };
}

const CURSOR = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;
