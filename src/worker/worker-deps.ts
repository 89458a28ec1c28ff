import type { Clock } from "../clock.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";
import type { Surroundings } from "../observer.ts";
import type { ScheduleDeclaration } from "../schedule/declaration.ts";
import type { DeclaredSchedules } from "../schedule/declared.ts";
import type { Storage } from "../storage/storage.ts";
import type { Worker } from "./worker.ts";

/** What `Jobs` hands to its workers. */
export interface WorkerDeps {
  readonly storage: Storage;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /** What stands around runs. */
  readonly around: Surroundings;
  /** Tells the storage the options of the worker's definitions; absent where it does not want to know. */
  readonly define?: (definitions: readonly AnyJobDefinition[]) => Promise<void>;
  /** The schedules that a worker's code declares. */
  declared(declarations: readonly ScheduleDeclaration[], names: Iterable<string>): DeclaredSchedules;
  /** Where jobs wait that name no queue. */
  readonly defaultQueue: string;
  readonly beatEveryMs: number;
  readonly lostAfterMs: number;
  /** Called when the worker has stopped for good. */
  readonly stopped: (worker: Worker) => void;
}
