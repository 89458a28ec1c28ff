/**
 * Every limit of jobwright by name. A value beyond a limit is refused at the edge with an error
 * that names the value, the limit and the remedy; text that only describes (errors) is cut instead.
 */
export const limits = {
  /** Size of one payload as JSON text in UTF-8, in bytes. */
  payloadBytes: 1_048_576,
  /** Size of one result as JSON text in UTF-8, in bytes. */
  resultBytes: 1_048_576,
  /** Size of all checkpoint entries of one job together, in bytes. */
  checkpointBytes: 1_048_576,
  /** Nesting of a payload, result or checkpoint value. */
  jsonDepth: 100,
  /** Length of a stored error with its causes, in characters. */
  errorTextLength: 16_384,
  /** Causes kept of one error. */
  errorCauses: 5,
  /** Length of a job, queue, process or checkpoint name, in characters. */
  nameLength: 200,
  /** Tags of one job. */
  tags: 20,
  /** Lowest and highest priority; a lower number runs first. */
  priorityMin: -1000,
  priorityMax: 1000,
  /** Failed attempts kept of one job: this many of the first ... */
  attemptsFirst: 10,
  /** ... and this many of the last. */
  attemptsLast: 40,
  /** Log lines kept of one job: the last ones. */
  logLines: 100,
  /** Length of one log line that is kept, in characters. */
  logText: 2_000,
  /** Progress of one job as JSON text, in characters. */
  progressText: 2_000,
  /** History entries kept of one job: this many of the first ... */
  historyFirst: 10,
  /** ... and this many of the last. */
  historyLast: 40,
  /** Schedules of one storage. */
  schedules: 5_000,
  /** One schedule with the payload of its jobs, as text, in characters. */
  scheduleText: 65_536,
  /** Jobs that one tick makes up for at most, of those that were missed. */
  missedTicks: 1_000,
  /** Highest concurrency of a limit key. */
  limitConcurrency: 1_000,
  /** Length of a trace context, in characters. */
  traceText: 600,
  /** Jobs in one call of a batch handler. */
  batchJobs: 1_000,
  /** Jobs in one `enqueueMany`. */
  enqueueJobs: 5_000,
  /** Payload bytes in one `enqueueMany`. */
  enqueueBytes: 16_777_216,
  /** Enqueues of one process that wait for their acknowledgement. */
  pendingEnqueues: 10_000,
  /** Payload bytes of one process that wait for their acknowledgement. */
  pendingBytes: 67_108_864,
  /** Jobs a worker holds beyond its free slots. */
  readAhead: 500,
  /** Payload text a worker reads ahead per queue, in characters, judged by the largest it has met lately. */
  readAheadText: 16_777_216,
  /** Slots of one queue in one worker. */
  concurrency: 10_000,
  /** Threads of one worker. */
  threads: 256,
  /** Heap of one thread, in MiB: the least it can start with, and the most. */
  threadMemoryMbMin: 32,
  threadMemoryMbMax: 65_536,
  /** Calls of one run in a thread (checkpoints, enqueues) that wait for the main thread; more wait in the thread. */
  threadCalls: 16,
  /** Text of those calls together, in characters; a single larger one goes alone. */
  threadCallText: 16_777_216,
  /** Log lines a second of one run in a thread; then a count of what was left out. */
  threadLogLines: 100,
  /** Length of a log line from a thread, and of its details as JSON, in characters. */
  threadLogText: 8_192,
  /** Jobs on one page of a listing. */
  listPage: 1_000,
  /** Payload and result text on one page, in characters: a page of large jobs is shorter. */
  listText: 16_777_216,
  /** Rows a filtered listing looks at before it answers with a cursor. */
  listScan: 1_000,
  /** Counts up to this number are exact on every storage. */
  countExact: 10_000,
  /** How long a batch id is remembered at least, in ms. */
  batchMemoryMs: 900_000,
  /** Latest instant a job can be scheduled for: the end of year 9999, in epoch ms. */
  instantMax: 253_402_300_799_999,
} as const;
