import type { Duration } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import type { AnyJobDefinition, InputOf } from "../job/definition.ts";
import { checkName } from "../job/name.ts";
import type { EnqueueOptions } from "../job/options.ts";
import { instantMs } from "../job/outcome.ts";
import { checkKnown } from "../known-options.ts";
import type { MissedPolicy, OverlapPolicy } from "./entry.ts";
import { cronTiming, everyMsOf } from "./timing.ts";

/** How a schedule behaves; options of its jobs beside. */
export interface ScheduleOptions extends Omit<EnqueueOptions, "id" | "in" | "at" | "trace"> {
  /** Names the schedule, in the whole storage. @default the definition's name */
  readonly key?: string;
  /**
   * What becomes of ticks that no process was there for: nothing, one job for all of them, or one each, the last
   * 1,000. A tick is missed when it is fired more than 10 s late.
   *
   * @default "once"
   */
  readonly missed?: MissedPolicy;
  /** Whether a tick makes a job while the one of the last tick has not ended, its retries included. @default "skip" */
  readonly overlap?: OverlapPolicy;
  /** Whether there is a tick at once, when the schedule is new. @default "later" */
  readonly first?: "now" | "later";
  /** No tick before it. An interval counts from it. */
  readonly startAt?: Date;
  /** No tick after it. */
  readonly until?: Date;
}

/** Options of a cron schedule. */
export interface CronOptions extends ScheduleOptions {
  /** The IANA time zone of the expression. @default "UTC" */
  readonly zone?: string;
}

/** The payload may be left out where its type allows `undefined`. */
export type ScheduleArguments<D extends AnyJobDefinition, Options> =
  undefined extends InputOf<D>
    ? [payload?: InputOf<D>, options?: Options]
    : [payload: InputOf<D>, options?: Options];

/** A schedule as code says it; made by {@link every} and {@link cron}. */
export interface ScheduleDeclaration {
  readonly key: string;
  readonly definition: AnyJobDefinition;
  readonly payload: unknown;
  readonly timing:
    | { readonly kind: "every"; readonly everyMs: number }
    | { readonly kind: "cron"; readonly expression: string; readonly zone: string };
  readonly missed: MissedPolicy;
  readonly overlap: OverlapPolicy;
  readonly first: "now" | "later";
  readonly startAt?: number;
  readonly until?: number;
  /** Options of its jobs. */
  readonly options: EnqueueOptions;
}

/**
 * A job again and again, so long after the last tick: `jobs.worker([…], { schedules: [every("1h", cleanUp)] })`, or
 * `jobs.every(…)` for one that code does not know beforehand.
 *
 * @param interval 100 ms at least
 * @throws InvalidOptionError
 */
export function every<D extends AnyJobDefinition>(
  interval: Duration,
  definition: D,
  ...[payload, options]: ScheduleArguments<D, ScheduleOptions>
): ScheduleDeclaration {
  const everyMs = everyMsOf(interval);
  return declaration({ kind: "every", everyMs }, definition, payload, options ?? {}, []);
}

/**
 * A job whenever a cron expression says, in a time zone. Where clocks are set forward, a tick in the hour that is
 * missing comes at its end; where they are set back, a tick at one time of day comes once, the first time, and
 * one at every hour or so comes every hour.
 *
 * @param expression five fields, or six with seconds before them, as croner reads them
 * @throws InvalidOptionError when the expression is none, or never comes
 *
 * @example
 * cron("0 9 * * 1-5", report, { kind: "daily" }, { zone: "Europe/Berlin" });
 */
export function cron<D extends AnyJobDefinition>(
  expression: string,
  definition: D,
  ...[payload, options]: ScheduleArguments<D, CronOptions>
): ScheduleDeclaration {
  const timing = cronTiming(expression, options?.zone ?? "UTC");
  return declaration(timing, definition, payload, options ?? {}, ["zone"]);
}

const OWN = ["key", "missed", "overlap", "first", "startAt", "until"] as const;
const OF_JOBS = [
  ...["queue", "priority", "maxRetries", "backoff", "timeout", "retention", "tags"],
  ...["unique", "limit", "concurrencyKey"],
];

function declaration(
  timing: ScheduleDeclaration["timing"],
  definition: AnyJobDefinition,
  payload: unknown,
  given: CronOptions,
  also: readonly string[],
): ScheduleDeclaration {
  if (typeof definition?.schema?.["~standard"]?.validate !== "function") {
    throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
  }
  checkKnown("schedule option", given, [...OWN, ...also, ...OF_JOBS]);
  const {
    key = definition.name,
    missed = "once",
    overlap = "skip",
    first = "later",
    startAt,
    until,
    ...rest
  } = given;
  const { zone: _zone, ...options } = rest;
  const start = startAt === undefined ? {} : { startAt: instantMs(startAt, "startAt") };
  const end = until === undefined ? {} : { until: instantMs(until, "until") };
  return Object.freeze({
    key: checkName(key, "key"),
    definition,
    payload,
    timing,
    missed: oneOf(["skip", "once", "all"] as const, missed, "missed"),
    overlap: oneOf(["skip", "allow"] as const, overlap, "overlap"),
    first: oneOf(["now", "later"] as const, first, "first"),
    ...start,
    ...end,
    options,
  });
}

function oneOf<T extends string>(known: readonly T[], value: T, option: string): T {
  if (known.includes(value)) return value;
  throw new InvalidOptionError(option, value, `Use one of ${known.join(", ")}.`);
}

/** @throws InvalidOptionError when two have one key, or something is no declaration */
export function checkDeclarations(
  declarations: readonly ScheduleDeclaration[],
): readonly ScheduleDeclaration[] {
  if (!Array.isArray(declarations)) {
    throw new InvalidOptionError("schedules", declarations, "Use an array of every(…) and cron(…).");
  }
  const keys = new Set<string>();
  for (const one of declarations as readonly ScheduleDeclaration[]) {
    if (typeof one?.key !== "string" || typeof one.timing?.kind !== "string") {
      throw new InvalidOptionError("schedules", one, "Use what every() and cron() return.");
    }
    if (keys.has(one.key)) {
      throw new InvalidOptionError(
        "schedules",
        one.key,
        "Two schedules have this key: give one of them another, { key }.",
      );
    }
    keys.add(one.key);
  }
  return declarations;
}
