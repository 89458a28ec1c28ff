import type { Duration } from "../duration.ts";
import { StateError } from "../errors.ts";
import type { BatchItem } from "../job/batch-definition.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { limits } from "../job/limits.ts";
import { later, reasonText, RetryAfter } from "../job/outcome.ts";
import { valueText } from "../job/payload.ts";
import type { Logger } from "../logger.ts";
import type { Checkpoint, RunningJobInfo } from "./context.ts";
import type { Run } from "./run.ts";
import { RunContext, type RunServices } from "./run-context.ts";
import { endOfThrow } from "./thread/ending.ts";

/** A job of a batch, as its handler sees it. */
export class BatchRunItem implements BatchItem {
  readonly run: Run;
  readonly payload: unknown;
  readonly #services: RunServices;
  readonly #definition: AnyJobDefinition;
  #context: RunContext | undefined;
  /** As {@link complete} was told. */
  result: unknown;
  #isClosed = false;

  constructor(run: Run, payload: unknown, services: RunServices, definition: AnyJobDefinition) {
    this.run = run;
    this.payload = payload;
    this.#services = services;
    this.#definition = definition;
  }

  /** What a handler of its own would get. Made when first looked at. */
  get context(): RunContext {
    this.#context ??= new RunContext(this.run, this.#services, this.#definition);
    return this.#context;
  }

  get job(): RunningJobInfo {
    return this.context.job;
  }
  get checkpoint(): Checkpoint {
    return this.context.checkpoint;
  }
  get signal(): AbortSignal {
    return this.run.signal;
  }

  get log(): Logger {
    return this.context.log;
  }

  progress(done: number, note?: string): void {
    this.context.progress(done, note);
  }

  complete(result?: unknown): void {
    this.#say(
      result === undefined
        ? { kind: "returned" }
        : { kind: "returned", result: valueText("The result", result, limits.resultBytes) },
    );
    this.result = result;
  }

  fail(error: unknown): void {
    this.#say(endOfThrow(error));
  }

  snooze(until: Duration | Date): void {
    this.#say({ kind: "snoozed", later: later(until, "snooze") });
  }

  reschedule(when: Duration | Date): void {
    this.#say({ kind: "rescheduled", later: later(when, "reschedule") });
  }

  retryAfter(delay: Duration, message?: string): void {
    this.#say(endOfThrow(new RetryAfter(delay, message)));
  }

  cancel(reason: string): void {
    this.#say({ kind: "cancelled", reason: reasonText(reason) });
  }

  /** Its handler has ended: what is said now comes too late. */
  close(): void {
    this.#isClosed = true;
  }

  #say(end: RunEnd): void {
    if (this.#isClosed) {
      throw new StateError(
        `The batch of job ${this.run.id} has ended, so nothing more can be said of it. Await all work in the handler.`,
      );
    }
    // After its time was up it has failed, and it may run again elsewhere.
    if (this.run.timedOut === undefined && !this.run.over) this.run.said = end;
  }
}
