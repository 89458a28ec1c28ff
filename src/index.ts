// The public face: a short, hand-written list, in the order in which one meets it.

export { connect, type ConnectOptions, setDefaultClock } from "./connect.ts";
export {
  type AnyJobDefinition,
  defineJob,
  type DefinitionOptions,
  type Handler,
  implement,
  type InputOf,
  type PayloadOf,
  type JobDefinition,
  type JobOptions,
  type ResultOf,
  type RetentionOptions,
  type SpanAttributes,
  type ThreadHandler,
} from "./job/definition.ts";
export {
  type BatchContext,
  type BatchItem,
  type BatchOptions,
  type BatchOutcomes,
  type CompletedIn,
  defineBatchJob,
  implementBatch,
} from "./job/batch-definition.ts";
export { json, type StandardSchema } from "./job/schema.ts";
export { type Backoff, exponential, fixed, linear } from "./job/backoff.ts";
export { type Duration } from "./duration.ts";

export { type CancelResult, type Jobs, type PauseTarget } from "./jobs.ts";
export { type JobFilter } from "./filter.ts";
export { type EnqueueItem, item } from "./item.ts";
export { type EnqueueChange, type Middleware } from "./middleware.ts";
export { type TransactionJobs } from "./transaction-jobs.ts";
export { type EnqueueOptions } from "./job/options.ts";
export {
  type KeyOptions,
  type KeyScope,
  type KeyText,
  type LimitOptions,
  type UniqueOptions,
} from "./job/key-options.ts";
export { type JobHandle } from "./handle.ts";
export {
  cron,
  type CronOptions,
  every,
  type ScheduleArguments,
  type ScheduleDeclaration,
  type ScheduleOptions,
} from "./schedule/declaration.ts";
export { type MissedPolicy, type OverlapPolicy } from "./schedule/entry.ts";
export { type Schedule, type Schedules } from "./schedule/schedules.ts";
export { type Attempt, type Job } from "./view.ts";
export { type HistoryItem } from "./timeline.ts";
export { type JobKey, type JobLogLine, type Look } from "./look.ts";
export { type DeadFilter, type DeadJobs } from "./dead.ts";
export { type FleetEvent, type FollowOptions } from "./follow.ts";
export { type JobEnd, type JobEnds } from "./wait-all.ts";
export { type JobError, type JobState } from "./job/job.ts";
export { type Queue, type QueueName } from "./queues.ts";
export { type Flow, type ProcessInfo, type Stats } from "./storage/storage.ts";

export {
  type Checkpoint,
  type EnqueuedJob,
  type JobContext,
  type RunningJobInfo,
  type SetupJob,
  type ThreadContext,
  type ThreadJobs,
} from "./worker/context.ts";
export { cancel, type NoResult, reschedule, RetryAfter, snooze } from "./job/outcome.ts";
export { type StateFactory, type WorkerOptions, type WorkerSettings } from "./worker/options.ts";
export { type Worker } from "./worker/worker.ts";
export { type JobEvent, type WorkerEvents } from "./worker/events.ts";
export { type Service } from "./service.ts";
export { stopOnSignals } from "./signals.ts";
export {
  type ChildEnd,
  type ChildState,
  type SharedConnectOptions,
  type SupervisedChild,
  Supervisor,
  type SupervisorEvents,
  type SupervisorOptions,
} from "./supervisor/index.ts";

export { type Clock, systemClock, type Timer } from "./clock.ts";
export { lineLogger, type Logger, silentLogger } from "./logger.ts";
export { limits } from "./job/limits.ts";
export * from "./errors.ts";
