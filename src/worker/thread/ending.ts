import { InvalidPayloadError, UnrecoverableError } from "../../errors.ts";
import { serializeError } from "../../job/error.ts";
import type { RunEnd } from "../../job/lifecycle.ts";
import { limits } from "../../job/limits.ts";
import { directiveOf, RetryAfter } from "../../job/outcome.ts";
import { valueText } from "../../job/payload.ts";
import type { Validation } from "../../job/validation.ts";

/** What a handler returned, as the end of its run: data, so that it can come from a thread. */
export function endOfReturn(value: unknown): RunEnd {
  const directive = directiveIn(value);
  if (directive !== undefined) {
    switch (directive.kind) {
      case "snooze":
        return { kind: "snoozed", later: directive.later };
      case "reschedule":
        return { kind: "rescheduled", later: directive.later };
      case "cancel":
        return { kind: "cancelled", reason: directive.reason };
    }
  }
  if (value === undefined) return { kind: "returned" };
  try {
    return { kind: "returned", result: valueText("The result", value, limits.resultBytes) };
  } catch (problem) {
    // The work is done: running it again because its result is odd would do it twice.
    return { kind: "returned", note: serializeError(problem).message };
  }
}

/** What was thrown, as the end of a run. */
export function endOfThrow(thrown: unknown): RunEnd {
  if (isA(thrown, RefusedPayload)) {
    return { kind: "threw", error: serializeError(thrown.cause), fatal: true };
  }
  const error = serializeError(thrown);
  if (isA(thrown, RetryAfter)) return { kind: "threw", error, retryAfterMs: thrown.delayMs };
  if (isA(thrown, UnrecoverableError)) return { kind: "threw", error, fatal: true };
  return { kind: "threw", error };
}

/** The stored payload is bad: no retry will make it good. Not to be taken for an error the handler throws. */
export class RefusedPayload extends Error {}

/** What to throw for a payload that its schema did not let through. */
export function refusedPayload(job: string, refused: Validation & { readonly ok: false }): unknown {
  // A schema that failed (a bug, a service it asks) may know better next time.
  if ("thrown" in refused) return refused.thrown;
  return new RefusedPayload("", { cause: new InvalidPayloadError(job, refused.issues) });
}

/** `instanceof` runs the value's own code when it is a proxy, and that may throw. */
function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

function directiveIn(value: unknown): ReturnType<typeof directiveOf> {
  try {
    return directiveOf(value);
  } catch {
    return undefined;
  }
}
