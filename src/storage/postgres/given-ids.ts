import { createHash } from "node:crypto";
import type { JobId } from "../../job/job.ts";
import type { NewJob } from "../storage.ts";
import type { Queryable } from "./database.ts";
import { type Store, textArray } from "./store.ts";
import { encodeText } from "./text.ts";

/** A caller-given id as it stands: who has it, and with which payload. */
export interface Taken {
  readonly hash: string;
  /** Its job, or the index of the job that is about to be stored. */
  readonly id: JobId;
  readonly created?: number;
}

/** The given ids of a batch. */
export interface GivenIds {
  /** Who has them, by {@link givenKey}; whoever judges adds to it. */
  readonly taken: Map<string, Taken>;
  /** Nobody had these: they are ours now, to be kept or let go of. */
  readonly ours: readonly string[];
  readonly jobs: ReadonlyMap<string, NewJob>;
}

/** Take the given ids of jobs that nobody has. A text is the answer to a batch that was stored before. */
export async function takeGiven(
  tx: Queryable,
  store: Store,
  jobs: readonly NewJob[],
  batchId: string | undefined,
): Promise<GivenIds | string> {
  const keyed = jobs.filter(({ givenId }) => givenId !== undefined);
  const found: GivenIds & { ours: string[] } = {
    taken: new Map(),
    ours: [],
    jobs: new Map(keyed.map((job) => [givenKey(job), job])),
  };
  if (keyed.length === 0) return found;
  const [row] = await tx.query(
    store.statement(
      "take_given",
      "select $s.take_given($1, $2::text::text[], $3::text::text[], $4::text::text[])",
    ),
    [
      batchId === undefined ? null : encodeText(batchId),
      textArray(keyed.map(({ name }) => name)),
      textArray(keyed.map(({ givenId }) => givenId as string)),
      textArray(keyed.map(({ payload }) => hashOf(payload))),
    ],
  );
  const text = row?.[0] as string;
  if (text.startsWith("[")) return text;
  for (const entry of text.split(",")) {
    const [ord, id, hash] = entry.split(" ") as [string, string, string];
    const key = givenKey(keyed[Number(ord) - 1] as NewJob);
    if (id !== "0") found.taken.set(key, { hash, id: Number(id) });
    else if (!found.ours.includes(key)) found.ours.push(key);
  }
  return found;
}

/** Write who has them now. */
export async function keepGiven(
  tx: Queryable,
  store: Store,
  { taken, ours, jobs }: GivenIds,
  created: readonly NewJob[],
  ids: readonly JobId[],
  remembered: { readonly batchId: string; readonly answer: string } | undefined,
): Promise<void> {
  if (jobs.size === 0) return;
  const kept = ours.map((key): { id: JobId; job: NewJob } => {
    const { created: index } = taken.get(key) ?? {};
    return index === undefined
      ? { id: 0, job: jobs.get(key) as NewJob }
      : { id: ids[index] as JobId, job: created[index] as NewJob };
  });
  await tx.query(
    store.statement(
      "keep_given",
      "select $s.keep_given($1, $2::text::float8, $3, $4::text::bigint[], $5::text::text[], $6::text::text[], $7::text::text[])",
    ),
    [
      remembered === undefined ? null : encodeText(remembered.batchId),
      store.now(),
      remembered?.answer ?? null,
      `{${kept.map(({ id }) => id).join()}}`,
      textArray(kept.map(({ job }) => job.name)),
      textArray(kept.map(({ job }) => job.givenId as string)),
      textArray(kept.map(({ job }) => hashOf(job.payload))),
    ],
  );
}

export function hashOf(payload: string): string {
  return createHash("sha256").update(payload).digest("base64url");
}

/** The length keeps a name and an id apart, whatever characters they hold. */
export function givenKey({ name, givenId }: NewJob): string {
  return `${name.length}:${name}${givenId}`;
}
