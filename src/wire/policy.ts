import type { Backoff } from "../job/backoff.ts";
import type { Retention } from "../job/job.ts";
import { literal, number, orNull, record, type Shape, variants } from "./shape.ts";

/** The two parts of a job's policy that are records of their own. All jobs of a batch mostly have the same. */

const ms: Shape<number> = number(0, Number.MAX_SAFE_INTEGER);

export const backoff: Shape<Backoff> = repeating(
  variants<Backoff, "kind">("kind", {
    exponential: record({
      needs: { kind: literal("exponential"), firstMs: ms, factor: number(0), maxMs: ms, jitter: number(0) },
      may: {},
    }),
    linear: record({
      needs: { kind: literal("linear"), stepMs: ms, maxMs: ms, jitter: number(0) },
      may: {},
    }),
    fixed: record({ needs: { kind: literal("fixed"), delayMs: ms }, may: {} }),
  }),
);

export const retention: Shape<Retention> = repeating(
  record({
    needs: { completedMs: orNull(ms), cancelledMs: orNull(ms), deadMs: orNull(ms) },
    may: {},
  }),
);

/**
 * A flat record that comes again and again: one like the last is the last. Engines know options that were resolved
 * together by their being the same object, and compare all of them where they are not.
 */
function repeating<T extends object>(shape: Shape<T>): Shape<T> {
  let last: T | undefined;
  let fields: readonly [string, unknown][] = [];
  return {
    out: shape.out,
    in: (value) => {
      if (last !== undefined && hasAll(value, fields)) return last;
      // Frozen: jobs of several calls, and of several clients, share it from now on.
      last = Object.freeze(shape.in(value));
      fields = Object.entries(last);
      return last;
    },
  };
}

/** Whether it has these fields, all of them numbers, texts or nothing. Others are passed over anyway. */
function hasAll(value: unknown, fields: readonly [string, unknown][]): boolean {
  if (typeof value !== "object" || value === null) return false;
  for (const [key, field] of fields) if ((value as Record<string, unknown>)[key] !== field) return false;
  return true;
}
