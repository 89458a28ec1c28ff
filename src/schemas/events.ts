import type { FleetEvent } from "../follow.ts";
import type { FinalState } from "../job/job.ts";
import type { JobEvent, WorkerEvents } from "../worker/events.ts";
import { job } from "./job.ts";
import { processInfo, servedQueue } from "./looking.ts";
import {
  anything,
  count,
  described,
  either,
  error,
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

/** What `jobs.events` answers, each. */
export const fleetEventSchema: JsonSchema = whole(
  "FleetEvent",
  either(
    object<Extract<FleetEvent, { readonly type: FinalState }>>(
      { type: oneOf("completed", "cancelled", "dead"), job },
      {},
    ),
    object<Exclude<FleetEvent, { readonly type: FinalState }>>(
      { type: oneOf("process-joined", "process-left", "process-lost"), process: processInfo },
      {},
    ),
  ),
);

/** Events of a worker that say more than their name. */
export type TellingEvent = {
  [Event in keyof WorkerEvents]: WorkerEvents[Event] extends [] ? never : Event;
}[keyof WorkerEvents];

/** Those schemas, before they stand by themselves. */
type Told = { readonly [Event in TellingEvent]: SchemaOf<WorkerEvents[Event][0]> };

const jobEvent: SchemaOf<JobEvent> = object<JobEvent>(
  { id: jobId, name: text, queue: text, attempt: count },
  {},
);

/** The job, and what else its event says. */
function jobAnd<Event extends TellingEvent>(more: {
  readonly [K in Exclude<keyof WorkerEvents[Event][0], keyof JobEvent>]: SchemaOf<WorkerEvents[Event][0][K]>;
}): SchemaOf<WorkerEvents[Event][0]> {
  const { properties, required } = jobEvent as { properties: object; required: string[] };
  const schema: JsonSchema = {
    ...jobEvent,
    properties: { ...properties, ...more },
    required: [...required, ...Object.keys(more)],
  };
  return schema as SchemaOf<WorkerEvents[Event][0]>;
}

const told: Told = {
  started: jobEvent,
  completed: jobAnd<"completed">({ durationMs: number }),
  failed: jobAnd<"failed">({ error, retryInMs: number }),
  dead: jobAnd<"dead">({ error }),
  cancelled: jobAnd<"cancelled">({ reason: text }),
  snoozed: jobEvent,
  rescheduled: jobEvent,
  released: jobEvent,
  stale: jobEvent,
  slow: jobAnd<"slow">({ runningMs: number }),
  overdue: jobAnd<"overdue">({ runningMs: number }),
  blocked: object<WorkerEvents["blocked"][0]>({ blockedMs: number, running: listOf(jobEvent) }, {}),
  fenced: object<WorkerEvents["fenced"][0]>({ processId: text, aborted: count }, {}),
  rescued: jobAnd<"rescued">({ lostProcessId: text, started: yesOrNo }),
  unhandled: object<WorkerEvents["unhandled"][0]>({ queue: text, name: text, waiting: count }, {}),
  unserved: object<WorkerEvents["unserved"][0]>({ queue: text, waiting: count }, {}),
  stuck: object<WorkerEvents["stuck"][0]>(
    {
      queue: text,
      name: text,
      id: jobId,
      waiting: described("Such jobs that are available.", count),
      waitedMs: number,
      why: oneOf("paused", "unserved", "unhandled", "busy"),
    },
    {},
  ),
  storageError: object<WorkerEvents["storageError"][0]>(
    { error: anything, during: text, retryInMs: number },
    {},
  ),
  registered: object<WorkerEvents["registered"][0]>({ processId: text, queues: listOf(servedQueue) }, {}),
};

/** What a worker tells with each event, by the event's name; those that tell nothing more are left out. */
export const workerEventSchemas: { readonly [Event in TellingEvent]: JsonSchema } = Object.freeze(
  Object.fromEntries(
    Object.entries(told).map(([event, schema]) => [event, whole(`Worker event "${event}"`, schema)]),
  ) as { readonly [Event in TellingEvent]: JsonSchema },
);
