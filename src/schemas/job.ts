import type { JobState } from "../job/job.ts";
import type { JobLogLine } from "../look.ts";
import type { HistoryItem } from "../timeline.ts";
import type { Attempt, Job } from "../view.ts";
import type { JobEnd } from "../wait-all.ts";
import {
  anything,
  count,
  described,
  either,
  error,
  instant,
  integer,
  jobId,
  type JsonSchema,
  listOf,
  number,
  object,
  oneOf,
  type SchemaOf,
  text,
  whole,
} from "./schema.ts";

/** Where a job stands in its life. */
export const state: SchemaOf<JobState> = oneOf(
  ...(["scheduled", "available", "blocked", "running", "completed", "cancelled", "dead"] as const),
);

/** A job, to stand within other schemas. */
export const job: SchemaOf<Job> = object<Job>(
  {
    id: jobId,
    name: text,
    queue: text,
    state,
    payload: described("As it was enqueued.", anything),
    priority: described("A lower number runs first.", integer),
    attempt: described("Attempts spent.", count),
    maxRetries: described("Retries after the first attempt; null = without end.", countOrNone()),
    createdAt: instant,
    runAt: described("Earliest start.", instant),
    tags: listOf(text),
    snoozes: count,
    releases: count,
  },
  {
    startedAt: described("Start of the last run that was settled.", instant),
    endedAt: described("End of the last run that was settled.", instant),
    result: anything,
    error: described("Of the last failed attempt, while the job has not completed since.", error),
    reason: described("Why it was cancelled, or why its result is not kept.", text),
    cancelAsked: described("Why the run that goes on was asked to end.", text),
    givenId: described("The id that the caller chose.", text),
    uniqueKey: text,
    limitKey: text,
    tickAt: described("The tick of the schedule that made it.", instant),
    progress: object<NonNullable<Job["progress"]>>(
      { done: described("From 0 to 1.", number) },
      { note: text },
    ),
    processId: described("The process that runs it.", text),
  },
);

/** What `jobs.get` and `jobs.list` answer. */
export const jobSchema: JsonSchema = whole("Job", job);

/** What `jobs.attempts` answers, each. */
export const attemptSchema: JsonSchema = whole(
  "Attempt",
  object<Attempt>(
    {
      number: described("1 for the first failure of the job's life.", count),
      attempt: count,
      processId: text,
      startedAt: instant,
      endedAt: instant,
      error,
    },
    {},
  ),
);

/** What `jobs.history` answers, each. */
export const historyItemSchema: JsonSchema = whole(
  "HistoryItem",
  object<HistoryItem>(
    {
      at: instant,
      kind: oneOf(
        ...(["enqueued", "failed", "completed", "cancelled", "dead", "snoozed", "rescheduled"] as const),
        ...([
          "released",
          "cancel-asked",
          "retried",
          "rescheduled-by-hand",
          "reprioritised",
          "replaced",
        ] as const),
      ),
    },
    {
      startedAt: instant,
      attempt: count,
      processId: text,
      error,
      reason: text,
      runAt: described("The start that a delay gave it.", instant),
    },
  ),
);

/** What `jobs.logs` answers, each. */
export const jobLogLineSchema: JsonSchema = whole(
  "JobLogLine",
  object<JobLogLine>(
    {
      at: instant,
      level: oneOf("debug", "info", "warn", "error"),
      text,
      attempt: described("Of the run that wrote it.", count),
      number: described("1 for the first line of the job's life.", count),
    },
    {},
  ),
);

type EndOf<State> = Extract<JobEnd, { readonly state: State }>;

/** What `jobs.waitAll` answers, each. */
export const jobEndSchema: JsonSchema = whole(
  "JobEnd",
  either(
    object<EndOf<"completed">, "result">({ id: jobId, state: oneOf("completed") }, { result: anything }),
    object<EndOf<"dead">>({ id: jobId, state: oneOf("dead"), error }, {}),
    object<EndOf<"cancelled">>({ id: jobId, state: oneOf("cancelled"), reason: text }, {}),
    object<EndOf<"gone">>({ id: jobId, state: oneOf("gone") }, {}),
  ),
);

function countOrNone(): SchemaOf<number> {
  return { type: ["integer", "null"], minimum: 0 };
}
