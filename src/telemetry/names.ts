/**
 * Every name that spans and metrics of jobwright have; docs/telemetry.md lists them, and a test keeps the two equal.
 * Experimental: they follow OpenTelemetry's conventions for messaging, which may still change.
 */
export const spanNames = {
  /** Around a call of `enqueue` or `enqueueMany`; kind PRODUCER. */
  enqueue: "jobwright.enqueue",
  /** Around a run, with a link to the span that enqueued the job; kind CONSUMER. */
  run: "jobwright.run",
  /** An event of a run's span: the job will be tried again. */
  retry: "jobwright.retry",
} as const;

/** Names of attributes, of spans and of metrics. */
export const attributeNames = {
  system: "messaging.system",
  /** On a run's span and in the metrics of runs: the queue. */
  queue: "messaging.destination.name",
  operation: "messaging.operation.type",
  /** On a run's span: the id of the job. */
  id: "messaging.message.id",
  /** On the span of an enqueue: how many jobs it was about. */
  count: "messaging.batch.message_count",
  name: "jobwright.job.name",
  attempt: "jobwright.job.attempt",
  /** completed, retried, dead, cancelled, snoozed, rescheduled, released or lost. */
  outcome: "jobwright.job.outcome",
  /** The name of an error's class. */
  error: "error.type",
  /** The state of jobs that are counted. */
  state: "jobwright.job.state",
  /** A method of the storage. */
  method: "jobwright.storage.method",
} as const;

/** Names of metrics. */
export const metricNames = {
  /** Counter: jobs that were handed in, by name. */
  enqueued: "jobwright.jobs.enqueued",
  /** Counter: runs that ended, by name, queue and outcome. */
  ended: "jobwright.jobs.ended",
  /** Histogram, s: from the earliest start of a job to its start, by name and queue. */
  wait: "jobwright.job.wait",
  /** Histogram, s: the same for jobs that were given a time, which measures how punctual they are. */
  lateness: "jobwright.job.lateness",
  /** Histogram, s: from start to end of a run, by name, queue and outcome. */
  run: "jobwright.job.run",
  /** Histogram, s: calls of the storage that tell it what has ended. */
  settle: "jobwright.settle",
  /** Histogram, s: every call of the storage, by method, with the error's class where it failed. */
  storage: "jobwright.storage.call",
  /** Gauge: jobs by queue and state. */
  depth: "jobwright.queue.depth",
} as const;
