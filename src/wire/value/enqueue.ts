import type { JobSpec } from "../../job/job.ts";
import type { LimitKey, UniqueKey } from "../../job/key.ts";
import { limits } from "../../job/limits.ts";
import type { EnqueueResult, GroupResult, JobDefaults, NewJob } from "../../storage/storage.ts";
import { wireLimits } from "../limits.ts";
import { backoff, retention } from "../policy.ts";
import { series } from "../series.ts";
import { eitherField, type Fields, integer, list, type ListShape, literal, oneOf, orNull } from "../shape.ts";
import { record, type Shape, text } from "../shape.ts";
import { counter, id, instant, json, later, ms, name, priority } from "./basic.ts";

/** Jobs on their way in, and what became of them. */

/** A scope may be empty: keys that all definitions share. */
const unique: Shape<UniqueKey> = record({
  needs: {
    scope: name,
    key: name,
    while: orNull(oneOf("waiting", "live")),
    onConflict: oneOf("keep", "replace", "error"),
  },
  may: { forMs: orNull(ms), inherit: literal(true) },
});
const limit: Shape<LimitKey> = record({
  needs: { scope: name, key: name, concurrency: integer(1, limits.limitConcurrency) },
  may: {},
});

export const spec: Fields<JobSpec> = {
  needs: {
    name,
    queue: name,
    payload: json,
    maxRetries: orNull(counter),
    backoff,
    timeoutMs: orNull(ms),
    retention,
    tags: list(name, limits.tags),
  },
  may: { givenId: name, unique, limit, trace: text(limits.traceText), tickAt: instant },
};

const newJob: Fields<NewJob> = { needs: { ...spec.needs, priority }, may: { ...spec.may, later } };
// A unique key taken over from the job before would keep this one out.
export const newJobs: ListShape<NewJob> = series<NewJob>(
  newJob,
  ["payload", "givenId", "unique", "tickAt"],
  wireLimits.entries,
);
/** Ticks that were missed are made up for in one step, which must fit into a frame: they are few and have one payload. */
export const tickJobs: ListShape<NewJob> = series<NewJob>(
  newJob,
  ["givenId", "unique", "tickAt"],
  wireLimits.tickJobs,
);
export const groups: ListShape<readonly NewJob[]> = list<readonly NewJob[]>(newJobs, wireLimits.entries);

const enqueueResult: Shape<EnqueueResult> = record({
  needs: { status: oneOf("created", "existing", "replaced"), id },
  may: {},
});
export const enqueueResults: ListShape<EnqueueResult> = list(enqueueResult, wireLimits.entries);

type Stored = Extract<GroupResult, { ok: true }>;
type Refused = Extract<GroupResult, { ok: false }>;
const groupResult: Shape<GroupResult> = eitherField(
  "jobs",
  record<Stored>({ needs: { ok: literal(true), jobs: enqueueResults }, may: {} }),
  record<Refused>({
    needs: {
      ok: literal(false),
      refusal: record({ needs: { kind: oneOf("duplicate-id", "key-held"), existing: id }, may: {} }),
      index: counter,
    },
    may: {},
  }),
);
export const groupResults: ListShape<GroupResult> = list(groupResult, wireLimits.entries);

export const definitions: ListShape<JobDefaults> = list(
  record<JobDefaults>({
    needs: {
      name,
      queue: name,
      maxRetries: spec.needs.maxRetries,
      backoff,
      timeoutMs: spec.needs.timeoutMs,
      retention,
      tags: spec.needs.tags,
      priority,
    },
    may: {},
  }),
  wireLimits.entries,
);
