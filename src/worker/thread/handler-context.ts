import type { Clock } from "../../clock.ts";
import { StateError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { Checkpoint, RunningJobInfo, ThreadContext, ThreadJobs } from "../context.ts";
import { enqueuesBy } from "./enqueues.ts";
import type { Link, Start } from "./link.ts";
import { checkpointOf, earlyResult, progressText } from "./saved-values.ts";

/** The handler's view of its run, in a thread. */
export class HandlerContext implements ThreadContext {
  readonly job: RunningJobInfo;
  readonly jobs: ThreadJobs;
  readonly log: Logger;
  readonly checkpoint: Checkpoint;
  readonly clock: Pick<Clock, "now">;
  readonly #link: Link;

  constructor(start: Start, link: Link) {
    this.#link = link;
    this.job = start.job;
    this.jobs = enqueuesBy(link);
    this.log = loggerBy(link);
    this.checkpoint = checkpointOf(new Map(Object.entries(start.checkpoint)), (key, text) =>
      link.call({ kind: "checkpoint", key, text }, text?.length ?? 0),
    );
    this.clock = {
      now: () => link.now(),
      // Not in the type: for handlers that were written for the main thread.
      ...{ at: () => unavailable("ctx.clock.at", "Use setTimeout, or return snooze().") },
    };
  }

  get signal(): AbortSignal {
    return this.#link.signal;
  }

  async setResult(value: unknown): Promise<void> {
    const text = earlyResult(value);
    await this.#link.call({ kind: "result", text }, text.length);
  }

  progress(done: number, note?: string): void {
    this.#link.progress(progressText(done, note));
  }

  get setup(): never {
    return unavailable("ctx.setup", "Make what the handler needs in its own module.");
  }

  get state(): never {
    return unavailable(
      "ctx.state",
      "It lives in the main thread. Make what the handler needs in its own module, or use `run` instead of `thread`.",
    );
  }

  completeIn(): Promise<never> {
    return Promise.resolve().then(() =>
      unavailable(
        "ctx.completeIn",
        "A transaction cannot be handed to another thread. Use `run` instead of `thread`.",
      ),
    );
  }
}

function unavailable(what: string, remedy: string): never {
  throw new StateError(`${what} does not reach into a thread. ${remedy}`);
}

function loggerBy(link: Link): Logger {
  return {
    debug: (message, details) => link.log("debug", message, details),
    info: (message, details) => link.log("info", message, details),
    warn: (message, details) => link.log("warn", message, details),
    error: (message, details) => link.log("error", message, details),
  };
}
