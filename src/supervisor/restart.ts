import { backoffMs } from "../job/backoff.ts";

/** How dead children are started again. */
export interface RestartPolicy {
  /** Wait after the first end. */
  readonly firstMs: number;
  /** Longest wait, and how long a child must have worked to count as sound again. */
  readonly maxMs: number;
}

/** Share of a wait that is added at random: children that died together do not come back together. */
const JITTER = 0.2;
const FACTOR = 2;

/**
 * How long to wait before a child that ended is started again: doubled with each end in a row.
 *
 * @param ends ends in a row before this one
 * @param workedMs how long it had worked since it was ready, 0 when it never was
 * @param random uniform in [0, 1)
 */
export function afterEnd(
  policy: RestartPolicy,
  ends: number,
  workedMs: number,
  random: number,
): { readonly ends: number; readonly inMs: number } {
  const inRow = workedMs >= policy.maxMs ? 1 : ends + 1;
  const { firstMs, maxMs } = policy;
  const backoff = { kind: "exponential", firstMs, factor: FACTOR, maxMs, jitter: JITTER } as const;
  return { ends: inRow, inMs: backoffMs(backoff, inRow, random) };
}
