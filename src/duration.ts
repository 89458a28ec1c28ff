import { InvalidOptionError } from "./errors.ts";

/**
 * A span of time: a number of milliseconds, or text like `"250ms"`, `"15s"`, `"5m"`, `"2h"`, `"1d"`.
 * Fractions are allowed (`"1.5h"`); the result is rounded to whole milliseconds.
 */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** 100 years: beyond it a finite duration is a mistake. */
const DURATION_MS_MAX = 100 * 365.25 * UNIT_MS.d;

/**
 * A duration in whole milliseconds.
 *
 * @param option name of the option the value was given for, quoted in the error
 * @param range smallest and largest value allowed, in ms. @default 0 to 100 years
 * @throws InvalidOptionError for anything else, `NaN` and `Infinity` included
 */
export function toMs(value: Duration, option: string, range: { min?: number; max?: number } = {}): number {
  const { min = 0, max = DURATION_MS_MAX } = range;
  const ms = parse(value);
  if (ms === undefined) {
    throw new InvalidOptionError(
      option,
      value,
      'Use a number of milliseconds or text like "250ms", "15s", "5m", "2h" or "1d".',
    );
  }
  if (ms < min || ms > max) {
    throw new InvalidOptionError(option, value, `Use ${min} ms to ${max} ms.`);
  }
  return ms;
}

/** As {@link toMs}, where `Infinity` has a meaning; it is answered as `null`, the form that is stored. */
export function toMsOrNull(
  value: Duration,
  option: string,
  range: { min?: number; max?: number } = {},
): number | null {
  return value === Number.POSITIVE_INFINITY ? null : toMs(value, option, range);
}

function parse(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? Math.round(value) : undefined;
  if (typeof value !== "string") return undefined;
  const [, digits, unit] = PATTERN.exec(value) ?? [];
  if (digits === undefined || unit === undefined) return undefined;
  return Math.round(Number(digits) * UNIT_MS[unit as keyof typeof UNIT_MS]);
}
