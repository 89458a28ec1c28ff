import type { Entry, EntryOf } from "../../crash/history.ts";

/**
 * What a test wrote down of the server beside what processes wrote down of jobs. `crash` is an end that loses
 * what was committed without waiting for the disk: claims, beats and reported starts of the last moment.
 */
export type ServerEntry =
  | { readonly at: number; readonly by: string; readonly what: "away"; readonly isCrash: boolean }
  | { readonly at: number; readonly by: string; readonly what: "back" };

/** A line that a process said, and whether the default logger shows it. */
export interface LineEntry {
  readonly at: number;
  readonly by: string;
  readonly what: "line";
  readonly level: string;
  readonly text: string;
  readonly isShown: boolean;
  /** By the machine's clock, as the logger counts. */
  readonly second: number;
}

/** A run that was completed within a transaction of the application: id, generation, token, answer. */
export interface JoinedEntry {
  readonly at: number;
  readonly by: string;
  readonly what: "joined";
  readonly run: readonly [number, number, string, string];
}

export type FaultEntry =
  | Entry
  | ServerEntry
  | LineEntry
  | JoinedEntry
  | { readonly at: number; readonly by: string; readonly what: "refused"; readonly error: string };

/**
 * How long before a crash an answered claim can be among what is lost. The server promises three times its
 * `wal_writer_delay`, 600 ms; a busy machine delays the answer's way into the journal.
 */
export const LOST_US: number = 2_000_000;

/** A claim that a crash has taken back, so that the job was given out again. */
export interface VoidClaim {
  readonly id: number;
  readonly process: string;
  readonly token: string;
  /** When its answer arrived, and how long before the crash that was. In µs. */
  readonly at: number;
  readonly beforeCrash: number;
  /** Settles under it that came after the crash, and were refused. */
  readonly refused: number;
}

export interface AfterCrashes {
  /** The history without the runs that crashes made void: what is left must be as if there had been no crash. */
  readonly entries: Entry[];
  readonly voids: readonly VoidClaim[];
  /** What no crash excuses. */
  readonly problems: readonly string[];
}

/**
 * Settles whose answer was lost are repeated, and a repetition is answered as the first time would have been,
 * however long ago that was: what counts is when it was first sent.
 */
function withFirstSent(history: readonly Entry[]): Entry[] {
  const firstSent = new Map<string, number>();
  return history.flatMap((entry): Entry[] => {
    if (entry.what !== "settle") return [entry];
    return entry.runs.map((run): Entry => {
      const [id, , token, state] = run;
      const key = `${id} ${token} ${state}`;
      const sentAt = firstSent.get(key) ?? entry.sentAt;
      firstSent.set(key, sentAt);
      return { ...entry, sentAt, runs: [run] };
    });
  });
}

/**
 * Take out of a history what a crash of the server explains: a claim commits without waiting for the disk, so
 * the last ones can be lost, and their jobs are given out again. It must have been just before a crash, and
 * nothing may have been settled under it.
 */
export function afterCrashes(all: readonly FaultEntry[]): AfterCrashes {
  const history = withFirstSent(all.filter(isEntry).sort((a, b) => a.at - b.at));
  const crashes = crashesOf(all);
  const problems: string[] = [];
  const claims = claimsOf(history);
  const answers = answersOf(history);
  const rescued = new Set(
    select(history, "rescue").flatMap(({ jobs }) => jobs.map(([id, process]) => `${id} ${process}`)),
  );
  const voids: VoidClaim[] = [];
  const silent: ClaimedRun[] = [];
  for (const ofRun of claims.values()) {
    ofRun.forEach((claim, i) => {
      const { id, token, at, process } = claim;
      const crash = crashes.find(({ from, until }) => at >= from - LOST_US && at <= until);
      const given = answers.get(`${id} ${token}`) ?? [];
      const again = ofRun.slice(i + 1).find((later) => later.token !== token);
      if (again === undefined) {
        // Nobody has claimed it again by then, or nobody heard the answer; a lost process is another story.
        if (crash !== undefined && !given.includes("settled") && !rescued.has(`${id} ${process}`)) {
          silent.push(claim);
        }
        return;
      }
      if (crash === undefined) problems.push(`job ${id} was given out twice, and no crash explains ${token}`);
      else if (given.includes("settled"))
        problems.push(`job ${id} was settled under ${token}, which was void`);
      else {
        const refused = given.filter((answer) => answer === "stale").length;
        voids.push({ id, process, token, at, beforeCrash: Math.max(0, crash.from - at), refused });
      }
    });
  }
  const isVoid = runsOf([...voids, ...silent], claims);
  const lostTokens = new Set([...voids, ...silent].map(({ id, token }) => `${id} ${token}`));
  const isJustBefore = (at: number): boolean =>
    crashes.some(({ from, until }) => at >= from - LOST_US && at <= until);
  const entries = history.flatMap((entry): Entry[] => {
    switch (entry.what) {
      case "start":
      case "end":
        return isVoid(Number(entry.id), entry.process, entry.at) ? [] : [entry];
      case "claim":
        return [{ ...entry, jobs: entry.jobs.filter(([id, , token]) => !lostTokens.has(`${id} ${token}`)) }];
      case "settle":
        return [{ ...entry, runs: entry.runs.filter(([id, , token]) => !lostTokens.has(`${id} ${token}`)) }];
      case "told":
        return isJustBefore(entry.at) ? [] : [entry];
      default:
        return [entry];
    }
  });
  return { entries, voids, problems };
}

/** For each process, how long after each return of the server it was first answered with work, in ms. */
export function recoveryMs(all: readonly FaultEntry[], processes: readonly string[]): number[] {
  const sorted = [...all].sort((a, b) => a.at - b.at);
  const times: number[] = [];
  sorted.forEach((entry, i) => {
    if (entry.what !== "back") return;
    for (const name of processes) {
      const first = sorted
        .slice(i + 1)
        .find(({ by, what }) => by === name && (what === "claim" || what === "settle" || what === "ack"));
      times.push(first === undefined ? Number.POSITIVE_INFINITY : (first.at - entry.at) / 1_000);
    }
  });
  return times;
}

/** The most lines about the storage that one process has said within a second, and the most that the default logger would show. */
export function loudestSecond(all: readonly FaultEntry[]): { readonly said: number; readonly shown: number } {
  const said = new Map<string, number>();
  const shown = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string): unknown =>
    counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const entry of all) {
    // What a handler throws is one line each, and not about the storage.
    if (entry.what !== "line" || /^job \d/.test(entry.text)) continue;
    const key = `${entry.by} ${entry.second}`;
    count(said, key);
    if (entry.isShown) count(shown, key);
  }
  return { said: Math.max(0, ...said.values()), shown: Math.max(0, ...shown.values()) };
}

interface ClaimedRun {
  readonly id: number;
  readonly process: string;
  readonly token: string;
  readonly at: number;
}

function isEntry(entry: FaultEntry): entry is Entry {
  return !["away", "back", "line", "joined", "refused"].includes(entry.what);
}

function select<W extends Entry["what"]>(history: readonly Entry[], what: W): EntryOf<W>[] {
  return history.filter((entry): entry is EntryOf<W> => entry.what === what);
}

/** From the blow to the return. */
function crashesOf(all: readonly FaultEntry[]): { readonly from: number; readonly until: number }[] {
  const backs = all.filter(({ what }) => what === "back").map(({ at }) => at);
  return all.flatMap((entry) => {
    if (entry.what !== "away" || !entry.isCrash) return [];
    return { from: entry.at, until: Math.min(...backs.filter((at) => at > entry.at)) };
  });
}

/** Job and generation → its claims in order. */
function claimsOf(history: readonly Entry[]): Map<string, ClaimedRun[]> {
  const claims = new Map<string, ClaimedRun[]>();
  for (const { at, process, jobs } of select(history, "claim")) {
    for (const [id, generation, token] of jobs) {
      const run = `${id} ${generation}`;
      const known = claims.get(run);
      if (known === undefined) claims.set(run, [{ id, process, token, at }]);
      else known.push({ id, process, token, at });
    }
  }
  return claims;
}

/** Job and token → what settles under it were answered. */
function answersOf(history: readonly Entry[]): Map<string, string[]> {
  const answers = new Map<string, string[]>();
  for (const { runs } of select(history, "settle")) {
    for (const [id, , token, , answer] of runs) {
      answers.set(`${id} ${token}`, [...(answers.get(`${id} ${token}`) ?? []), answer]);
    }
  }
  return answers;
}

/** Whether what a process wrote of a job at an instant belongs to one of these claims: the last one before it. */
function runsOf(
  some: readonly ClaimedRun[],
  claims: ReadonlyMap<string, readonly ClaimedRun[]>,
): (id: number, process: string, at: number) => boolean {
  const lost = new Set(some.map(({ id, token }) => `${id} ${token}`));
  const byProcess = new Map<string, ClaimedRun[]>();
  for (const claim of [...claims.values()].flat()) {
    const key = `${claim.id} ${claim.process}`;
    byProcess.set(
      key,
      [...(byProcess.get(key) ?? []), claim].sort((a, b) => a.at - b.at),
    );
  }
  return (id, process, at) => {
    const claim = byProcess.get(`${id} ${process}`)?.findLast((one) => one.at <= at);
    return claim !== undefined && lost.has(`${id} ${claim.token}`);
  };
}
