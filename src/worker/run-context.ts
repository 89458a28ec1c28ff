import type { Clock } from "../clock.ts";
import { InvalidOptionError, LeaseLostError } from "../errors.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import { limits } from "../job/limits.ts";
import { valueText } from "../job/payload.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";
import type { Surroundings } from "../observer.ts";
import type { Note, Storage } from "../storage/storage.ts";
import { type Completion, transactional } from "../storage/transactional.ts";
import type { Checkpoint, JobContext, RunningJobInfo } from "./context.ts";
import { Journal, logLine } from "./journal.ts";
import type { Run } from "./run.ts";
import { checkpointOf, earlyResult, progressText } from "./thread/saved-values.ts";

/** What all runs of a worker share. */
export interface RunServices {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly jobs: Jobs;
  readonly logger: Logger;
  readonly state: { readonly value: unknown };
  readonly around: Surroundings;
}

/** The handler's view of its run. Everything is made when first looked at. */
export class RunContext implements JobContext<unknown> {
  readonly #run: Run;
  readonly #services: RunServices;
  readonly #resetsAttempts: boolean;
  #job: RunningJobInfo | undefined;
  /** Made by the definition's `setup` before the handler is called. */
  setup: unknown;

  constructor(run: Run, services: RunServices, definition?: AnyJobDefinition) {
    this.#run = run;
    this.#services = services;
    this.#resetsAttempts = definition?.options.resetAttempts === "checkpoint";
  }

  /** @internal */
  get around(): Surroundings {
    return this.#services.around;
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
      ...(job.tickAt === undefined ? {} : { tickAt: new Date(job.tickAt) }),
    };
    return this.#job;
  }

  get log(): Logger {
    const { id, name, attempt } = this.job;
    const { logger, around, clock } = this.#services;
    const about = { job: id, name, attempt };
    const at =
      (level: keyof Logger) =>
      (message: string, details?: Readonly<Record<string, unknown>>): void => {
        logger[level](message, { ...about, ...details });
        if (around.keepsLogs) this.#journal.log(logLine(clock.now(), level, message));
      };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }

  progress(done: number, note?: string): void {
    this.#journal.progress(progressText(done, note));
  }

  /** A report that was written elsewhere. @internal */
  reportProgress(text: string): void {
    this.#journal.progress(text);
  }

  get #journal(): Journal {
    this.#run.journal ??= new Journal(this.#run, this.#services.storage);
    return this.#run.journal;
  }

  get checkpoint(): Checkpoint {
    const run = this.#run;
    run.checkpoint ??= new Map(Object.entries(run.job.checkpoint ?? {}));
    return checkpointOf(run.checkpoint, (key, text) => this.saveCheckpoint(key, text));
  }

  /** @internal */
  async saveCheckpoint(key: string, text: string | null): Promise<void> {
    const run = this.#run;
    run.checkpoint ??= new Map(Object.entries(run.job.checkpoint ?? {}));
    const isNew = this.#resetsAttempts && text !== null && run.checkpoint.get(key) !== text;
    await saveNote(run, this.#services.storage, { checkpoint: { [key]: text } });
    if (isNew) run.gotFurther = true;
    if (text === null) run.checkpoint.delete(key);
    else run.checkpoint.set(key, text);
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
    // The commit takes the lease away, and with it the right to say something.
    if (run.journal?.isOpen === true) await run.journal.saved();
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
