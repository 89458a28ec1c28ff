/** Every limit of the protocol by name, beside those of jobs. */
export const wireLimits = {
  /** Size of a frame that a server takes, in bytes: an `enqueueMany` of 16 MiB in any alphabet fits. */
  frameBytes: 67_108_864,
  /** Size of a frame that a client takes, in bytes: a claim answers with as many payloads as it asked for. */
  answerBytes: 1_073_741_824,
  /** Size of the first frame of a connection, in bytes. */
  helloBytes: 4_096,
  /** Messages in one frame. */
  messages: 10_000,
  /** Values in one frame, keys among them: each costs its reader more than its byte. */
  values: 4_000_000,
  /** Maps and lists in each other. */
  depth: 24,
  /** Calls of one connection that wait for their answer. */
  credits: 256,
  /** Size of those calls together, in bytes: a storage that stands still must not fill the server. */
  callBytes: 268_435_456,
  /** Watches of one connection. */
  watches: 10_000,
  /** Jobs looked at by one `get`: each may be four megabytes. */
  looked: 32,
  /** What all watches of one connection wait for together: lanes and jobs. */
  watched: 1_000_000,
  /** Jobs, leases, settlements or schedules in one call. */
  entries: 100_000,
  /** Jobs of one write of a schedule, which may share one payload. */
  tickJobs: 2_000,
  /** Queues of one claim or beat, and names of one queue. */
  queues: 100_000,
  /** Length of a short text that is no name: tokens, cursors, hosts, batch ids. */
  tokenLength: 2_000,
  /** Length of a reason for an end or a cancel. */
  reasonLength: 65_536,
  /** Length of a text that carries JSON: a payload, a result or a checkpoint entry. */
  jsonLength: 2_097_152,
  /** Length of the texts of an error. */
  errorLength: 65_536,
} as const;
