import type { JobError } from "../job/job.ts";
import type { ServedQueue } from "../storage/storage.ts";

/** A job as events show it: never its payload. */
export interface JobEvent {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly attempt: number;
}

/** What a worker tells, by event name. */
export interface WorkerEvents {
  started: [JobEvent];
  completed: [JobEvent & { readonly durationMs: number }];
  /** An attempt failed and the job will be retried. */
  failed: [JobEvent & { readonly error: JobError; readonly retryInMs: number }];
  /** The job gave up. */
  dead: [JobEvent & { readonly error: JobError }];
  cancelled: [JobEvent & { readonly reason: string }];
  snoozed: [JobEvent];
  rescheduled: [JobEvent];
  /** Given back unrun or unfinished, no attempt spent. */
  released: [JobEvent];
  /** A result came too late: the job had been taken away. Nothing was changed. */
  stale: [JobEvent];
  /** The run goes on for longer than `slowAfter`. */
  slow: [JobEvent & { readonly runningMs: number }];
  /** The handler still runs `timeoutGrace` after its timeout: the attempt has failed, its slot stays taken. */
  overdue: [JobEvent & { readonly runningMs: number }];
  /** The event loop stood still: heartbeats were late. Names the jobs that ran. */
  blocked: [{ readonly blockedMs: number; readonly running: readonly JobEvent[] }];
  /** This worker can no longer be sure of its leases: it aborted its handlers and registers anew. */
  fenced: [{ readonly processId: string; readonly aborted: number }];
  /** Jobs of a lost process were recovered. */
  rescued: [JobEvent & { readonly lostProcessId: string; readonly started: boolean }];
  /** Jobs wait in this worker's queues under names that no live process handles. */
  unhandled: [{ readonly queue: string; readonly name: string; readonly waiting: number }];
  /** Jobs wait in a queue that no live process serves. */
  unserved: [{ readonly queue: string; readonly waiting: number }];
  /** The first job of a name in a queue has been available for longer than `stuckAfter`. */
  stuck: [
    {
      readonly queue: string;
      readonly name: string;
      readonly id: string;
      /** Such jobs that are available. */
      readonly waiting: number;
      readonly waitedMs: number;
      /** `busy`: somebody serves and handles it, and has no slot for it. */
      readonly why: "paused" | "unserved" | "unhandled" | "busy";
    },
  ];
  /** A call to the storage failed; the worker tries again. */
  storageError: [{ readonly error: unknown; readonly during: string; readonly retryInMs: number }];
  /** The storage answers again. */
  recovered: [];
  registered: [{ readonly processId: string; readonly queues: readonly ServedQueue[] }];
  paused: [];
  resumed: [];
  stopping: [];
  stopped: [];
}
