import { type Duration, toMsOrNull } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import type { AnyJobDefinition, RetentionOptions } from "./definition.ts";
import type { Retention } from "./job.ts";
import { limits } from "./limits.ts";
import { checkName } from "./name.ts";

// The checks of single options: each answers the value as it is stored, or throws an InvalidOptionError.

export function checkThread({ run, thread, threadMemoryMb }: AnyJobDefinition): void {
  if (thread !== undefined) {
    if (run !== undefined) {
      throw new InvalidOptionError("thread", thread, "Use either `run` or `thread`: a job has one handler.");
    }
    if (!(thread instanceof URL) || thread.protocol !== "file:") {
      throw new InvalidOptionError(
        "thread",
        thread,
        'Use the URL of a file: new URL("./handler.js", import.meta.url).',
      );
    }
  }
  if (threadMemoryMb === undefined) return;
  if (thread === undefined) {
    throw new InvalidOptionError("threadMemoryMb", threadMemoryMb, "It goes with `thread` only.");
  }
  const { threadMemoryMbMin: min, threadMemoryMbMax: max } = limits;
  if (!Number.isInteger(threadMemoryMb) || threadMemoryMb < min || threadMemoryMb > max) {
    throw new InvalidOptionError("threadMemoryMb", threadMemoryMb, `Use an integer from ${min} to ${max}.`);
  }
}

export function checkPriority(value: unknown, option: string): number {
  const { priorityMin: min, priorityMax: max } = limits;
  // Adding 0 makes −0 the 0 that it comes back as.
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)
    return (value as number) + 0;
  throw new InvalidOptionError(option, value, `Use an integer from ${min} to ${max}; lower runs first.`);
}

export function checkMaxRetries(value: unknown): number | null {
  if (value === Number.POSITIVE_INFINITY) return null;
  if (Number.isSafeInteger(value) && (value as number) >= 0) return (value as number) + 0;
  throw new InvalidOptionError("maxRetries", value, "Use an integer from 0, or Infinity.");
}

export function checkRetention(value: unknown): Partial<Retention> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidOptionError("retention", value, "Use an object with any of completed, cancelled, dead.");
  }
  const kept: { -readonly [Key in keyof Retention]?: Retention[Key] } = {};
  for (const [key, given] of Object.entries(value) as [keyof RetentionOptions, Duration | undefined][]) {
    if (key !== "completed" && key !== "cancelled" && key !== "dead") {
      throw new InvalidOptionError(`retention.${String(key)}`, given, "Use completed, cancelled or dead.");
    }
    if (given !== undefined) kept[`${key}Ms`] = toMsOrNull(given, `retention.${key}`);
  }
  return kept;
}

export function checkTags(value: unknown, option: string): readonly string[] {
  if (!Array.isArray(value) || value.length > limits.tags) {
    throw new InvalidOptionError(option, value, `Use an array of at most ${limits.tags} words.`);
  }
  return Object.freeze([
    ...new Set(Array.from(value, (tag: unknown) => checkName(tag, `a tag of ${option}`))),
  ]);
}

export function checkResetAttempts(value: unknown): void {
  if (value === undefined || value === "never" || value === "checkpoint") return;
  throw new InvalidOptionError("resetAttempts", value, 'Use "checkpoint" or "never".');
}

export function checkConcurrency(value: unknown): void {
  if (value === undefined) return;
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= limits.concurrency) return;
  throw new InvalidOptionError("concurrency", value, `Use an integer from 1 to ${limits.concurrency}.`);
}

/** What stands around a definition's runs, and the same list at `connect`. */
export function checkMiddleware(value: unknown, isOther: (one: never) => boolean = () => false): void {
  const remedy = "Use a list of objects with enqueue(item, next), run(ctx, next), or both.";
  if (value === undefined) return;
  if (!Array.isArray(value)) throw new InvalidOptionError("middleware", value, remedy);
  for (const one of value as unknown[]) {
    if (typeof one === "object" && one !== null && isOther(one as never)) continue;
    const hooks = typeof one === "object" && one !== null ? (one as Record<string, unknown>) : {};
    const known = ["enqueue", "run"].filter((hook) => hooks[hook] !== undefined);
    if (known.length === 0 || known.some((hook) => typeof hooks[hook] !== "function")) {
      throw new InvalidOptionError("middleware", one, remedy);
    }
  }
}

export function checkAround({ setup, thread, middleware, spanAttributes }: AnyJobDefinition): void {
  checkMiddleware(middleware);
  if (setup !== undefined && typeof setup !== "function") {
    throw new InvalidOptionError("setup", setup, "Use a function of the job and the context.");
  }
  if (setup !== undefined && thread !== undefined) {
    throw new InvalidOptionError(
      "setup",
      setup,
      "It does not reach into a thread: prepare the run in its module.",
    );
  }
  if (spanAttributes !== undefined && typeof spanAttributes !== "function") {
    throw new InvalidOptionError("spanAttributes", spanAttributes, "Use a function of the payload.");
  }
}
