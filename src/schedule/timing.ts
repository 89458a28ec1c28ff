import { Cron } from "croner";
import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";

/** When a schedule is due, as data. */
export type Timing =
  /** At `anchor`, and every so often from then on. */
  | { readonly kind: "every"; readonly everyMs: number; readonly anchor: number }
  /** A cron expression in a time zone. */
  | { readonly kind: "cron"; readonly expression: string; readonly zone: string };

/** Shortest interval: a schedule is no loop. */
const EVERY_MS_MIN = 100;

/** @throws InvalidOptionError */
export function everyMsOf(interval: Duration): number {
  return toMs(interval, "every", { min: EVERY_MS_MIN });
}

/**
 * A cron expression, checked: five fields (minute, hour, day of month, month, day of week), or six with seconds
 * before them, with lists, ranges, steps, names, `L`, `#`, and `@daily` and the like, as croner reads them.
 *
 * @throws InvalidOptionError when it is none, never comes, or the zone is unknown
 */
export function cronTiming(expression: string, zone: string): Timing & { readonly kind: "cron" } {
  if (typeof expression !== "string" || expression.length > 200) {
    throw new InvalidOptionError("cron", expression, 'Use a cron expression like "0 9 * * 1-5".');
  }
  checkZone(zone);
  const timing = { kind: "cron", expression: expression.trim().replaceAll(/\s+/g, " "), zone } as const;
  let next: Date | null;
  try {
    next = cronOf(timing).nextRun(new Date());
  } catch (error) {
    const why = (error as Error).message.replace(/^Cron\w*: /, "");
    throw new InvalidOptionError("cron", expression, `Use a cron expression like "0 9 * * 1-5": ${why}`);
  }
  if (next === null)
    throw new InvalidOptionError("cron", expression, "It never comes: there is no such day.");
  return timing;
}

function checkZone(zone: string): void {
  try {
    if (typeof zone !== "string" || zone === "") throw new RangeError("no name");
    Intl.DateTimeFormat("en", { timeZone: zone });
  } catch {
    throw new InvalidOptionError("zone", zone, 'Use an IANA time zone, like "Europe/Berlin" or "UTC".');
  }
}

/** The first tick after an instant; `null` when there is none any more. */
export function tickAfter(timing: Timing, at: number): number | null {
  if (timing.kind === "every") {
    const { everyMs, anchor } = timing;
    return at < anchor ? anchor : anchor + (Math.floor((at - anchor) / everyMs) + 1) * everyMs;
  }
  return cronOf(timing).nextRun(new Date(at))?.getTime() ?? null;
}

/** The last ticks before an instant and not before another one, ascending, at most so many. */
export function ticksBefore(timing: Timing, before: number, from: number, most: number): number[] {
  if (from >= before || most < 1) return [];
  if (timing.kind === "every") {
    const { everyMs, anchor } = timing;
    const ticks: number[] = [];
    const last = anchor + (Math.ceil((before - anchor) / everyMs) - 1) * everyMs;
    for (let at = last; at >= Math.max(from, anchor) && ticks.length < most; at -= everyMs) ticks.push(at);
    return ticks.reverse();
  }
  // Whole seconds are all that it knows: the one under way may hold a tick that has passed.
  const reference = new Date(Math.ceil(before / 1_000) * 1_000);
  // Few at first: each costs, and most looks are for the last one or two.
  for (let n = Math.min(most, 4) + 1; ; n = Math.min(4 * n, most + 1)) {
    const runs = cronOf(timing)
      .previousRuns(n, reference)
      .map((tick) => tick.getTime());
    const isAll = n > most || runs.length < n || runs.some((at) => at < from);
    if (isAll)
      return runs
        .filter((at) => at >= from && at < before)
        .sort((a, b) => a - b)
        .slice(-most);
  }
}

/** Parsed expressions; all are parsed anew when there are more. */
const CRONS_MAX = 1_000;
const crons = new Map<string, Cron>();

function cronOf({ expression, zone }: Timing & { readonly kind: "cron" }): Cron {
  const name = `${zone} ${expression}`;
  let cron = crons.get(name);
  if (cron === undefined) {
    cron = new Cron(expression, { timezone: zone, paused: true, mode: "5-or-6-parts" });
    if (crons.size >= CRONS_MAX) crons.clear();
    crons.set(name, cron);
  }
  return cron;
}
