import type { Clock } from "../clock.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";
import type { Storage } from "../storage/storage.ts";
import type { Worker } from "./worker.ts";

/** What `Jobs` hands to its workers. */
export interface WorkerDeps {
  readonly storage: Storage;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /** Tells the storage the options of the worker's definitions; absent where it does not want to know. */
  readonly define?: () => Promise<void>;
  /** Where jobs wait that name no queue. */
  readonly defaultQueue: string;
  readonly beatEveryMs: number;
  readonly lostAfterMs: number;
  /** Called when the worker has stopped for good. */
  readonly stopped: (worker: Worker) => void;
}
