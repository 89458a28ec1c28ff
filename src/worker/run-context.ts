import type { Clock } from "../clock.ts";
import { InvalidOptionError, LeaseLostError } from "../errors.ts";
import { limits } from "../job/limits.ts";
import { valueText } from "../job/payload.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";
import type { Note, Storage } from "../storage/storage.ts";
import { type Completion, transactional } from "../storage/transactional.ts";
import type { Checkpoint, JobContext, RunningJobInfo } from "./context.ts";
import type { Run } from "./run.ts";
import { checkpointOf, earlyResult } from "./thread/saved-values.ts";

/** What all runs of a worker share. */
export interface RunServices {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly jobs: Jobs;
  readonly logger: Logger;
  readonly state: { readonly value: unknown };
}

/** The handler's view of its run. Everything is made when first looked at. */
export class RunContext implements JobContext<unknown> {
  readonly #run: Run;
  readonly #services: RunServices;
  #job: RunningJobInfo | undefined;

  constructor(run: Run, services: RunServices) {
    this.#run = run;
    this.#services = services;
  }

  get state(): unknown {
    return this.#services.state.value;
  }
  get clock(): Clock {
    return this.#services.clock;
  }
  get jobs(): Jobs {
    return this.#services.jobs;
  }
  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get job(): RunningJobInfo {
    const { job } = this.#run;
    this.#job ??= {
      id: String(job.id),
      name: job.name,
      queue: job.queue,
      attempt: job.attempt + 1,
      maxRetries: job.maxRetries ?? Number.POSITIVE_INFINITY,
      createdAt: new Date(job.createdAt),
      runAt: new Date(job.runAt),
      tags: job.tags,
    };
    return this.#job;
  }

  get log(): Logger {
    const { id, name, attempt } = this.job;
    const { logger } = this.#services;
    const about = { job: id, name, attempt };
    return {
      debug: (message, details) => logger.debug(message, { ...about, ...details }),
      info: (message, details) => logger.info(message, { ...about, ...details }),
      warn: (message, details) => logger.warn(message, { ...about, ...details }),
      error: (message, details) => logger.error(message, { ...about, ...details }),
    };
  }

  get checkpoint(): Checkpoint {
    const run = this.#run;
    run.checkpoint ??= new Map(Object.entries(run.job.checkpoint ?? {}));
    return checkpointOf(run.checkpoint, (key, text) =>
      saveNote(run, this.#services.storage, { checkpoint: { [key]: text } }),
    );
  }

  async setResult(value: unknown): Promise<void> {
    await saveNote(this.#run, this.#services.storage, { result: earlyResult(value) });
  }

  async completeIn<T>(tx: object, result?: T): Promise<T> {
    const run = this.#run;
    const storage = transactional(this.#services.storage, "ctx.completeIn(tx)");
    const outcome: Completion["outcome"] =
      result === undefined
        ? { state: "completed" }
        : { state: "completed", result: valueText("The result", result, limits.resultBytes) };
    if (run.over || run.abortReason instanceof LeaseLostError) throw new LeaseLostError(run.id);
    const before = run.completedIn;
    // From now on, since a call whose answer is lost may have written it.
    run.completedIn = true;
    try {
      const { lease, startedAt } = run;
      const settled = await storage.settleIn(tx, { lease, outcome, startedAt });
      if (settled === "settled") return result as T;
    } catch (error) {
      if (error instanceof InvalidOptionError) run.completedIn = before;
      throw error;
    }
    run.completedIn = before;
    throw new LeaseLostError(run.id);
  }
}

/** Save something of a run while it goes on. @throws LeaseLostError when the job is no longer held */
export async function saveNote(run: Run, storage: Storage, note: Note): Promise<void> {
  const saved = await storage.note(run.lease, note);
  if (saved === "saved") return;
  const lost = new LeaseLostError(run.id);
  run.abort(lost);
  throw lost;
}
