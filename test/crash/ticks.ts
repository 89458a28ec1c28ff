/**
 * Judges the ticks of schedules in a crash test: what the processes wrote down, against the jobs in the storage. Pure;
 * `ticks.test.ts` provokes every rule on hand-made histories.
 */

/** A line of the log; `at` is in microseconds of the kernel's monotonic clock. */
export type TickEntry = { readonly at: number; readonly by: string } & (
  | {
      readonly what: "up";
      /** The storage's clock as this process sees it, in epoch ms. */
      readonly now: number;
    }
  /** It was asked to end and fires nothing any more. */
  | { readonly what: "down" }
  | { readonly what: "kill"; readonly target: string }
  /** A run of a tick's job. In the first attempt `runAt` is the instant of the tick. */
  | {
      readonly what: "start";
      readonly id: string;
      readonly key: string;
      readonly attempt: number;
      readonly runAt: number;
    }
  /** Writes of schedules: by key the jobs (id, tick) of those that counted, and how many came too late. */
  | {
      readonly what: "fired";
      readonly fired: readonly (readonly [string, readonly (readonly [string, number])[]])[];
      readonly lost: number;
    }
  /** From here on the schedules were taken out. */
  | { readonly what: "removed" }
);

/** A job in the storage at the end. */
export interface TickJob {
  readonly id: string;
  readonly key: string;
  readonly state: string;
}

/** How long a process must have been there past a tick for it to be missed. */
export const GRACE_MS = 5_000;

/** The instants of a schedule lie so far apart; those of a cron expression at whole multiples of it. */
export interface Grid {
  readonly stepMs: number;
  readonly isWhole: boolean;
}

export interface TickVerdict {
  readonly violations: readonly string[];
  readonly ticks: number;
  readonly twice: number;
  readonly missed: number;
  /** Longest time from when a process was there and the tick due until it had been fired, in ms. */
  readonly latestMs: number;
  /** How many processes fired something. */
  readonly firing: number;
  /** Writes that came second. */
  readonly lost: number;
}

export function checkTicks(
  entries: readonly TickEntry[],
  jobs: readonly TickJob[],
  grids: Readonly<Record<string, Grid>>,
): TickVerdict {
  const violations: string[] = [];
  let twice = 0;
  let missed = 0;
  let latestMs = 0;
  const stays = staysOf(entries);
  const fires = firesOf(entries);
  for (const [key, { stepMs, isWhole }] of Object.entries(grids)) {
    const own = jobs.filter((job) => job.key === key);
    const byTick = new Map<number, string[]>();
    // Made by a process that was killed before it could say so, and run first by one that was, too. It is some tick.
    let unknown = 0;
    for (const { id } of own) {
      const fire = fires.get(id);
      if (fire === undefined) unknown += 1;
      else byTick.set(fire.tickAt, [...(byTick.get(fire.tickAt) ?? []), id]);
      if (fire !== undefined) latestMs = Math.max(latestMs, lateness(fire, stays));
    }
    for (const [tickAt, ids] of byTick) {
      twice += ids.length - 1;
      if (ids.length > 1) violations.push(`twice: ${key} at ${tickAt} made the jobs ${ids.join(", ")}`);
    }
    const ticks = [...byTick.keys()].sort((a, b) => a - b);
    const first = ticks[0];
    if (first === undefined) {
      violations.push(`missed: ${key} never ticked`);
      continue;
    }
    for (const tickAt of ticks)
      if ((tickAt - first) % stepMs !== 0 || (isWhole && tickAt % stepMs !== 0))
        violations.push(`stray: ${key} ticked at ${tickAt}, which is no instant of it`);
    const owed = stays.filter(({ from, until }) => until - from >= GRACE_MS);
    const last = Math.max(ticks.at(-1) ?? first, ...owed.map(({ until }) => until - GRACE_MS));
    const gaps: number[] = [];
    for (let tickAt = first; tickAt <= last; tickAt += stepMs) if (!byTick.has(tickAt)) gaps.push(tickAt);
    if (unknown > gaps.length) {
      twice += unknown - gaps.length;
      violations.push(`twice: ${key} has more jobs than ticks`);
    }
    missed += Math.max(0, gaps.length - unknown);
    if (gaps.length > unknown) violations.push(`missed: ${key} at ${gaps.join(", ")}, ${unknown} excepted`);
  }
  for (const { id, key, state } of jobs)
    if (state !== "completed") violations.push(`unrun: job ${id} of ${key} is ${state}`);
  const fired = entries.filter((entry) => entry.what === "fired");
  return {
    violations,
    ticks: jobs.length - twice,
    twice,
    missed,
    latestMs,
    firing: new Set(fired.filter((entry) => entry.fired.length > 0).map(({ by }) => by)).size,
    lost: fired.reduce((n, entry) => n + entry.lost, 0),
  };
}

/** A process was there: from and until by its own clock, in epoch ms, and by the kernel's, in microseconds. */
interface Stay {
  readonly from: number;
  readonly until: number;
  readonly fromAt: number;
  readonly untilAt: number;
}

function staysOf(entries: readonly TickEntry[]): Stay[] {
  const ends = new Map<string, number>();
  for (const entry of entries) {
    const who = entry.what === "kill" ? entry.target : entry.what === "down" ? entry.by : undefined;
    if (who !== undefined) ends.set(who, Math.min(ends.get(who) ?? entry.at, entry.at));
  }
  const removedAt = entries.find(({ what }) => what === "removed")?.at ?? Number.POSITIVE_INFINITY;
  return entries.flatMap((entry) => {
    if (entry.what !== "up") return [];
    const untilAt = Math.min(ends.get(entry.by) ?? Number.POSITIVE_INFINITY, removedAt);
    const until = entry.now + (untilAt - entry.at) / 1_000;
    return [{ from: entry.now, until, fromAt: entry.at, untilAt }];
  });
}

interface Fire {
  readonly tickAt: number;
  /** When it was first known to have been fired. */
  readonly seenAt: number;
}

/** Which tick each job is, by whoever made it, and by its first run. */
function firesOf(entries: readonly TickEntry[]): Map<string, Fire> {
  const fires = new Map<string, Fire>();
  const note = (id: string, tickAt: number, at: number): void => {
    fires.set(id, { tickAt, seenAt: Math.min(fires.get(id)?.seenAt ?? at, at) });
  };
  for (const entry of entries) {
    if (entry.what === "start" && entry.attempt === 1) note(entry.id, entry.runAt, entry.at);
    else if (entry.what === "fired")
      for (const [, made] of entry.fired) for (const [id, tickAt] of made) note(id, tickAt, entry.at);
  }
  return fires;
}

/** How long it had been due for a process that was there all the while. */
function lateness({ tickAt, seenAt }: Fire, stays: readonly Stay[]): number {
  let latest = 0;
  for (const { from, fromAt, untilAt } of stays) {
    if (untilAt < seenAt) continue;
    const dueAt = fromAt + Math.max(0, tickAt - from) * 1_000;
    latest = Math.max(latest, (seenAt - dueAt) / 1_000);
  }
  return latest;
}
