import { ShutdownError } from "../errors.ts";
import { errorFromJob } from "../job/error.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { cancel, type Later, reschedule, snooze } from "../job/outcome.ts";
import { endOfReturn, endOfThrow } from "./thread/ending.ts";

/**
 * Middleware around a run in a thread. It knows values and errors, where a thread tells an end; what it hands on as
 * it got it stays exactly the end that it was.
 */
export async function throughEnds(
  around: (inner: () => Promise<unknown>) => unknown,
  inner: () => Promise<RunEnd>,
): Promise<RunEnd> {
  let last: { readonly end: RunEnd; readonly value: unknown } | undefined;
  const asValue = async (): Promise<unknown> => {
    const end = await inner();
    const value = valueOf(end);
    last = { end, value };
    if (hasThrown(end)) throw value;
    return value;
  };
  try {
    const value = await around(asValue);
    return last !== undefined && !hasThrown(last.end) && value === last.value ? last.end : endOfReturn(value);
  } catch (thrown) {
    return last !== undefined && hasThrown(last.end) && thrown === last.value ? last.end : endOfThrow(thrown);
  }
}

function hasThrown({ kind }: RunEnd): boolean {
  return kind === "threw" || kind === "released" || kind === "lost";
}

function valueOf(end: RunEnd): unknown {
  switch (end.kind) {
    case "returned":
      return end.result === undefined ? undefined : JSON.parse(end.result);
    case "snoozed":
      return snooze(whenOf(end.later));
    case "rescheduled":
      return reschedule(whenOf(end.later));
    case "cancelled":
      return cancel(end.reason);
    case "threw":
      return errorFromJob(end.error);
    case "released":
    case "lost":
      return new ShutdownError();
  }
}

function whenOf(later: Later): number | Date {
  return "at" in later ? new Date(later.at) : later.delayMs;
}
