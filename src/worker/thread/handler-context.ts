import type { Clock } from "../../clock.ts";
import { InvalidOptionError, StateError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import { checkName } from "../../job/name.ts";
import { valueText } from "../../job/payload.ts";
import type { Logger } from "../../logger.ts";
import type { Checkpoint, RunningJobInfo, ThreadContext, ThreadJobs } from "../context.ts";
import { enqueuesBy } from "./enqueues.ts";
import type { Link, Start } from "./link.ts";

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
    this.checkpoint = checkpointBy(link, new Map(Object.entries(start.checkpoint)));
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
    if (value === undefined) {
      throw new InvalidOptionError("setResult", value, "Use a JSON value; null stands for none.");
    }
    const text = valueText("The result", value, limits.resultBytes);
    await this.#link.call({ kind: "result", text }, text.length);
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

function checkpointBy(link: Link, entries: Map<string, string>): Checkpoint {
  return {
    get: <T>(key: string) => {
      const text = entries.get(key);
      return text === undefined ? undefined : (JSON.parse(text) as T);
    },
    set: async (key, value) => {
      checkName(key, "checkpoint key");
      if (value === undefined) {
        throw new InvalidOptionError(`checkpoint "${key}"`, value, "Use remove() to take an entry away.");
      }
      const text = valueText(`Checkpoint "${key}"`, value, limits.checkpointBytes);
      await link.call({ kind: "checkpoint", key, text }, text.length);
      entries.set(key, text);
    },
    remove: async (key) => {
      checkName(key, "checkpoint key");
      await link.call({ kind: "checkpoint", key, text: null }, 0);
      entries.delete(key);
    },
  };
}
