import type { JobKey } from "../look.ts";
import type { Queue, QueueName } from "../queues.ts";
import type { Schedule } from "../schedule/schedules.ts";
import type { Flow, ProcessInfo, ServedQueue, Stats } from "../storage/storage.ts";
import {
  anything,
  count,
  described,
  either,
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
  yesOrNo,
} from "./schema.ts";

/** What `jobs.schedules.list` answers, each. */
export const scheduleSchema: JsonSchema = whole(
  "Schedule",
  object<Schedule>(
    {
      key: text,
      name: described("Of the jobs it makes.", text),
      queue: text,
      payload: anything,
      timing: either(
        object<Extract<Schedule["timing"], { kind: "every" }>>(
          { kind: oneOf("every"), everyMs: integer },
          {},
        ),
        object<Extract<Schedule["timing"], { kind: "cron" }>>(
          { kind: oneOf("cron"), expression: text, zone: described("An IANA time zone.", text) },
          {},
        ),
      ),
      missed: oneOf("skip", "once", "all"),
      overlap: oneOf("skip", "allow"),
      declared: described("Whether it stands in the code of workers.", yesOrNo),
      paused: yesOrNo,
      next: described("The next five ticks; none while it is paused.", listOf(instant)),
    },
    {
      lastTickAt: described("The last tick that made a job.", instant),
      lastJobId: jobId,
      until: instant,
    },
  ),
);

const flow = object<Flow>({ enqueued: count, completed: count, cancelled: count, dead: count }, {});

/** What `jobs.stats` answers. */
export const statsSchema: JsonSchema = whole(
  "Stats",
  object<Stats>({ hour: flow, day: flow, month: flow, total: flow }, {}),
);

/** What `jobs.keys` answers, each. */
export const jobKeySchema: JsonSchema = whole(
  "JobKey",
  object<JobKey>(
    { key: text, id: described("Of the job that took it.", jobId) },
    { until: described("Held until then whatever happens.", either(instantOnly(), oneOf("ever"))) },
  ),
);

const counts = object<Queue["counts"]>(
  {
    scheduled: count,
    available: count,
    blocked: count,
    running: count,
    completed: count,
    cancelled: count,
    dead: count,
  },
  {},
);
const servedBy = described("Live processes that claim from here.", count);

/** What `jobs.queues` answers, each. */
export const queueSchema: JsonSchema = whole(
  "Queue",
  object<Queue>(
    {
      queue: text,
      paused: yesOrNo,
      counts,
      servedBy,
      names: listOf(object<QueueName>({ name: text, paused: yesOrNo, counts, servedBy }, {})),
    },
    {},
  ),
);

/** A queue that a process claims from, to stand within other schemas. */
export const servedQueue: SchemaOf<ServedQueue> = object<ServedQueue>(
  { queue: text, names: listOf(text), concurrency: count },
  {},
);

/** A process, to stand within other schemas. */
export const processInfo: SchemaOf<ProcessInfo> = object<ProcessInfo>(
  {
    id: text,
    host: text,
    pid: integer,
    lostAfterMs: integer,
    queues: listOf(servedQueue),
    registeredAt: described("Epoch ms, by the storage's clock.", integer),
    silentMs: described("Time since its last heartbeat, in ms.", number),
    lost: yesOrNo,
    running: count,
  },
  {
    name: described("Given by the operator.", text),
    declares: described("Keys of the schedules that its code declares.", listOf(text)),
  },
);

/** What `jobs.processes` answers, each. */
export const processSchema: JsonSchema = whole("ProcessInfo", processInfo);

/** Where a word may stand instead, and exactly one of the two must fit. */
function instantOnly(): SchemaOf<Date> {
  return { ...instant, not: { const: "ever" } };
}
