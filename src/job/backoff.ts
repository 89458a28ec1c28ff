import { InvalidOptionError } from "../errors.ts";
import { type Duration, toMs } from "../duration.ts";

/** The wait before a retry, as data that is stored with the job. */
export type Backoff =
  | {
      readonly kind: "exponential";
      readonly firstMs: number;
      readonly factor: number;
      readonly maxMs: number;
      readonly jitter: number;
    }
  | {
      readonly kind: "linear";
      readonly stepMs: number;
      readonly maxMs: number;
      readonly jitter: number;
    }
  | { readonly kind: "fixed"; readonly delayMs: number };

/**
 * How long to wait before the retry that follows failed attempt `attempt`, in whole ms.
 *
 * Exponential: `min(max, first · factor^(attempt − 1)) · (1 + jitter · random)`; finite for every attempt.
 *
 * @param attempt the attempt that failed, 1 for the first
 * @param random uniform in [0, 1)
 */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  switch (backoff.kind) {
    case "exponential": {
      // The power overflows to Infinity at high attempts; the cap makes it finite again.
      const grown = backoff.firstMs * backoff.factor ** (attempt - 1);
      // 0 · Infinity is NaN: a first delay of 0 stays 0.
      const base = backoff.firstMs === 0 ? 0 : Math.min(backoff.maxMs, grown);
      return Math.round(base * (1 + backoff.jitter * random));
    }
    case "linear": {
      const base = Math.min(backoff.maxMs, backoff.stepMs * attempt);
      return Math.round(base * (1 + backoff.jitter * random));
    }
    case "fixed":
      return backoff.delayMs;
  }
}

/** Longest delay a backoff may name: 365 days. A job that should wait longer is rescheduled. */
const BACKOFF_MS_MAX = 365 * 86_400_000;

/**
 * Waits that grow by a factor: 2, 4, 8, 16, 32 s … by default, each plus up to 20 %.
 *
 * @param options.first wait after the first failed attempt, at most 365 days. @default "2s"
 * @param options.factor growth per attempt, 1 to 100. @default 2
 * @param options.max cap before jitter, at most 365 days. @default "1h"
 * @param options.jitter share of the delay added at random, 0 to 1. @default 0.2
 * @throws InvalidOptionError
 */
export function exponential(
  options: { first?: Duration; factor?: number; max?: Duration; jitter?: number } = {},
): Backoff {
  const { first = "2s", factor = 2, max = "1h", jitter = 0.2 } = options;
  return {
    kind: "exponential",
    firstMs: toMs(first, "backoff.first", { max: BACKOFF_MS_MAX }),
    factor: numberIn(factor, "backoff.factor", 1, 100),
    maxMs: toMs(max, "backoff.max", { max: BACKOFF_MS_MAX }),
    jitter: numberIn(jitter, "backoff.jitter", 0, 1),
  };
}

/**
 * Waits that grow by a step: `step · attempt`, capped, plus jitter.
 *
 * @param options.step growth per attempt, at most 365 days
 * @param options.max cap before jitter. @default "1h"
 * @param options.jitter share of the delay added at random, 0 to 1. @default 0.2
 * @throws InvalidOptionError
 */
export function linear(options: { step: Duration; max?: Duration; jitter?: number }): Backoff {
  const { step, max = "1h", jitter = 0.2 } = options;
  return {
    kind: "linear",
    stepMs: toMs(step, "backoff.step", { max: BACKOFF_MS_MAX }),
    maxMs: toMs(max, "backoff.max", { max: BACKOFF_MS_MAX }),
    jitter: numberIn(jitter, "backoff.jitter", 0, 1),
  };
}

/**
 * The same wait before every retry, exactly.
 *
 * @param delay at most 365 days
 * @throws InvalidOptionError
 */
export function fixed(delay: Duration): Backoff {
  return { kind: "fixed", delayMs: toMs(delay, "backoff", { max: BACKOFF_MS_MAX }) };
}

/**
 * Check a backoff that did not come from the functions above, a config file's for instance.
 *
 * @throws InvalidOptionError
 */
export function checkBackoff(value: unknown): Backoff {
  if (typeof value === "object" && value !== null && "kind" in value) {
    const backoff = value as Partial<Record<string, number>> & { kind: unknown };
    if (backoff.kind === "fixed") return fixed(backoff["delayMs"] ?? Number.NaN);
    if (backoff.kind === "linear") {
      return linear({
        step: backoff["stepMs"] ?? Number.NaN,
        max: backoff["maxMs"] ?? Number.NaN,
        jitter: backoff["jitter"] ?? Number.NaN,
      });
    }
    if (backoff.kind === "exponential") {
      return exponential({
        first: backoff["firstMs"] ?? Number.NaN,
        factor: backoff["factor"] ?? Number.NaN,
        max: backoff["maxMs"] ?? Number.NaN,
        jitter: backoff["jitter"] ?? Number.NaN,
      });
    }
  }
  throw new InvalidOptionError("backoff", value, "Use exponential(), linear() or fixed().");
}

function numberIn(value: number, option: string, min: number, max: number): number {
  if (typeof value === "number" && value >= min && value <= max) return value;
  throw new InvalidOptionError(option, value, `Use a number from ${min} to ${max}.`);
}
