/**
 * Judges what happened in a crash test: the log that the processes wrote, against the storage at the end.
 * Pure; every rule has a name, and `history.test.ts` provokes each.
 */

/** One line of the log. `at` and `sentAt` are microseconds of the kernel's monotonic clock, one for all processes. */
export type Entry = { readonly at: number; readonly by: string } & (
  | { readonly what: "ask"; readonly batch: string; readonly numbers: readonly number[] }
  | { readonly what: "ack"; readonly batch: string; readonly ids: readonly string[] }
  | { readonly what: "nak"; readonly batch: string; readonly error: string }
  /** A job was acknowledged, and looking for it at once did not find it. */
  | { readonly what: "unseen"; readonly id: string }
  /** A beat under this process id was acknowledged as known. */
  | { readonly what: "beat"; readonly process: string; readonly sentAt: number; readonly first: boolean }
  /** A claim's answer: id, generation, token, whether the job is marked. */
  | {
      readonly what: "claim";
      readonly process: string;
      readonly jobs: readonly (readonly [number, number, string, boolean])[];
    }
  /** The storage has acknowledged that these leases (id, token) have started. */
  | {
      readonly what: "told";
      readonly process: string;
      readonly starts: readonly (readonly [number, string])[];
    }
  | {
      readonly what: "start";
      readonly process: string;
      readonly id: string;
      readonly batch: string;
      readonly number: number;
      readonly attempt: number;
    }
  | { readonly what: "end"; readonly process: string; readonly id: string; readonly attempt: number }
  /** The answer to a settle: id, generation, token, state asked for, answer. */
  | {
      readonly what: "settle";
      readonly process: string;
      readonly sentAt: number;
      readonly runs: readonly (readonly [number, number, string, string, string])[];
    }
  /** Leases taken over: id, lost process, whether its start was known. */
  | {
      readonly what: "rescue";
      readonly process: string;
      readonly jobs: readonly (readonly [number, string, boolean])[];
    }
  /** The worker found that it was silent for too long. */
  | { readonly what: "fenced"; readonly process: string }
  /** A handler saw its signal. */
  | { readonly what: "abort"; readonly process: string; readonly id: string; readonly reason: string }
  /** A measure of a child for the figures. */
  | { readonly what: "measure"; readonly name: string; readonly value: number }
  /** Written before the process `target` is killed, or by a process about to kill itself. */
  | { readonly what: "kill"; readonly target: string }
);

export type EntryOf<W extends Entry["what"]> = Extract<Entry, { readonly what: W }>;

/** A job in the storage at the end. */
export interface FinalJob {
  readonly id: string;
  readonly batch: string;
  readonly number: number;
  readonly state: string;
  readonly attempt: number;
  readonly marked: boolean;
  readonly failures: readonly {
    readonly attempt: number;
    readonly processId: string;
    readonly error: string;
  }[];
  /** The process and the attempt whose result the storage keeps. */
  readonly result?: { readonly process: string; readonly attempt: number };
}

export type ViolationName =
  /** Acknowledged, and not finished at the end, or not there at all. */
  | "lost"
  /** Acknowledged, and not visible to a read right after. */
  | "unseen"
  /** Stored or run without having been asked for. */
  | "unexpected"
  /** Stored or run although the enqueue was refused. */
  | "ranAfterNak"
  /** Asked for once, stored under several ids. */
  | "storedTwice"
  /** Some jobs of a group are stored and others not. */
  | "half"
  /** Two runs of a job overlapped while the first one's process was alive and believed to be. */
  | "concurrent"
  /** Two leases of one job both completed it. */
  | "doneTwice"
  /** A settle under an old lease was accepted. */
  | "zombieAccepted"
  /** Started after it had been completed. */
  | "ranAfterDone"
  /** A run known to have started was lost, and no attempt was spent for it. */
  | "attemptMissing"
  /** An attempt was spent on a run that never started, or whose process never died or fell silent. */
  | "attemptUnfounded"
  /** The stored number of attempts is not the number of runs that count. */
  | "attemptMiscounted"
  /** Gave up without a single logged start. */
  | "deadUnstarted";

export interface Violation {
  readonly name: ViolationName;
  readonly about: string;
  /** What was written down of the job, one entry a line; for the first violations only. */
  readonly story?: readonly string[];
}

export interface CheckOptions {
  /** The silence after which a process counts as lost. */
  readonly lostAfterMs: number;
  /** Names that may be found `dead` or `cancelled` at the end; others must be completed. @default false */
  readonly mayDie?: (job: FinalJob) => boolean;
  /** False where nothing runs the jobs: then they only have to be there. @default true */
  readonly mustEnd?: boolean;
}

export function check(
  entries: readonly Entry[],
  stored: readonly FinalJob[],
  options: CheckOptions,
): Violation[] {
  const found: Violation[] = [];
  const history = [...entries].sort((a, b) => a.at - b.at);
  const report = (name: ViolationName, about: string): void => {
    const id = /jobs? (\d+)/.exec(about)?.[1];
    found.push({
      name,
      about,
      ...(id === undefined || found.length >= STORIES ? {} : { story: storyOf(history, id) }),
    });
  };
  checkDelivery(history, stored, options, report);
  const runs = runsOf(history);
  checkOverlaps(runs, history, options, report);
  checkSettles(history, report);
  checkAttempts(runs, history, stored, report);
  return found;
}

/** Violations whose stories are told: the others mostly are of the same kind. */
const STORIES = 3;

function storyOf(history: readonly Entry[], id: string): string[] {
  const isAbout = (entry: Entry): boolean => {
    switch (entry.what) {
      case "claim":
      case "rescue":
        return entry.jobs.some(([one]) => String(one) === id);
      case "told":
        return entry.starts.some(([one]) => String(one) === id);
      case "settle":
        return entry.runs.some(([one]) => String(one) === id);
      case "ack":
        return entry.ids.includes(id);
      default:
        return "id" in entry && entry.id === id;
    }
  };
  const about = history.filter(isAbout);
  const players = new Set(about.map(({ by }) => by));
  const ends = history.filter(
    (entry) =>
      (entry.what === "kill" && players.has(entry.target)) ||
      (entry.what === "fenced" && players.has(entry.by)),
  );
  const own = (row: unknown): boolean => !Array.isArray(row) || row.length === 0 || String(row[0]) === id;
  return [...about, ...ends]
    .sort((a, b) => a.at - b.at)
    .map((entry) =>
      JSON.stringify(entry, (_, value: unknown) =>
        Array.isArray(value) && Array.isArray(value[0]) ? value.filter(own) : value,
      ),
    );
}

type Report = (name: ViolationName, about: string) => void;

function select<W extends Entry["what"]>(history: readonly Entry[], what: W): EntryOf<W>[] {
  return history.filter((entry): entry is EntryOf<W> => entry.what === what);
}

// ── Delivery ─────────────────────────────────────────────────────────────────

function checkDelivery(
  history: readonly Entry[],
  stored: readonly FinalJob[],
  { mustEnd = true, mayDie = () => false }: CheckOptions,
  report: Report,
): void {
  const byId = new Map(stored.map((job) => [job.id, job]));
  const asks = new Map(select(history, "ask").map(({ batch, numbers }) => [batch, new Set(numbers)]));
  const naks = new Set(select(history, "nak").map(({ batch }) => batch));
  for (const { ids, batch } of select(history, "ack")) {
    for (const id of ids) {
      const job = byId.get(id);
      if (job === undefined) report("lost", `job ${id} of batch ${batch} was acknowledged and is gone`);
      else if (mustEnd && job.state !== "completed" && !(mayDie(job) && job.state === "dead")) {
        report("lost", `job ${id} of batch ${batch} was acknowledged and is ${job.state}`);
      }
    }
  }
  for (const { id } of select(history, "unseen")) report("unseen", `job ${id}`);

  const kept = new Map<string, Map<number, string>>();
  for (const job of stored) {
    const { id, batch, number } = job;
    if (naks.has(batch)) report("ranAfterNak", `job ${id} of refused batch ${batch} is stored`);
    else if (asks.get(batch)?.has(number) !== true)
      report("unexpected", `job ${id} (${batch}/${number}) is stored`);
    let numbers = kept.get(batch);
    if (numbers === undefined) kept.set(batch, (numbers = new Map()));
    const other = numbers.get(number);
    if (other !== undefined) report("storedTwice", `jobs ${other} and ${id} (${batch}/${number})`);
    numbers.set(number, id);
  }
  for (const [batch, numbers] of kept) {
    const asked = asks.get(batch);
    if (asked !== undefined && numbers.size !== asked.size) {
      report("half", `${numbers.size} of the ${asked.size} jobs of batch ${batch} are stored`);
    }
  }
  for (const { id, batch, number } of select(history, "start")) {
    if (naks.has(batch)) report("ranAfterNak", `job ${id} of refused batch ${batch} ran`);
    else if (byId.get(id)?.batch !== batch || byId.get(id)?.number !== number) {
      report("unexpected", `job ${id} (${batch}/${number}) ran, and the storage does not know it`);
    }
  }
}

// ── One at a time ────────────────────────────────────────────────────────────

interface LoggedRun {
  readonly id: string;
  readonly process: string;
  readonly attempt: number;
  readonly start: number;
  /** When the handler ended or its process was killed, whichever is known. */
  readonly end: number;
}

function runsOf(history: readonly Entry[]): LoggedRun[] {
  const killedAt = killTimes(history);
  const ends = new Map<string, number>();
  for (const { id, process, attempt, at } of select(history, "end")) {
    ends.set(`${id} ${process} ${attempt}`, at);
  }
  return select(history, "start").map(({ id, process, attempt, at, by }) => {
    // A run given back unspent comes again with the same number, in the same process perhaps: then the
    // earlier one takes the later one's end, which only makes it look longer.
    const end = ends.get(`${id} ${process} ${attempt}`) ?? killedAt.get(by) ?? Number.POSITIVE_INFINITY;
    return { id, process, attempt, start: at, end };
  });
}

function killTimes(history: readonly Entry[]): Map<string, number> {
  const killedAt = new Map<string, number>();
  for (const { target, at } of select(history, "kill")) if (!killedAt.has(target)) killedAt.set(target, at);
  return killedAt;
}

function groupBy<K, V>(values: readonly V[], key: (value: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const value of values) {
    const group = groups.get(key(value));
    if (group === undefined) groups.set(key(value), [value]);
    else group.push(value);
  }
  return groups;
}

/**
 * A process is believed alive from the moment an acknowledged beat was sent, for at least `lostAfterMs`.
 * Nobody may have its jobs before that is over.
 */
function checkOverlaps(
  runs: readonly LoggedRun[],
  history: readonly Entry[],
  { lostAfterMs }: CheckOptions,
  report: Report,
): void {
  const believedUntil = new Map<string, number>();
  for (const { process, sentAt } of select(history, "beat")) {
    const until = sentAt + lostAfterMs * 1_000;
    believedUntil.set(process, Math.max(until, believedUntil.get(process) ?? 0));
  }
  for (const [id, ofJob] of groupBy(runs, (run) => run.id)) {
    ofJob.forEach((later, i) => {
      for (const earlier of ofJob.slice(0, i)) {
        if (later.start >= earlier.end || later.start > (believedUntil.get(earlier.process) ?? 0)) continue;
        report(
          "concurrent",
          `job ${id} ran in ${earlier.process} and, from ${later.start} µs, in ${later.process}`,
        );
      }
    });
  }
}

// ── Fencing ──────────────────────────────────────────────────────────────────

function checkSettles(history: readonly Entry[], report: Report): void {
  /** Job → claims of it: when, and which generation. */
  const claims = new Map<number, { at: number; generation: number }[]>();
  for (const { at, jobs } of select(history, "claim")) {
    for (const [id, generation] of jobs) {
      const known = claims.get(id);
      if (known === undefined) claims.set(id, [{ at, generation }]);
      else known.push({ at, generation });
    }
  }
  const done = new Map<number, { token: string; at: number }>();
  for (const { at, sentAt, runs } of select(history, "settle")) {
    for (const [id, generation, token, state, answer] of runs) {
      if (answer !== "settled") continue;
      const newer = claims.get(id)?.find((claim) => claim.generation > generation && claim.at < sentAt);
      if (newer !== undefined) {
        report(
          "zombieAccepted",
          `job ${id}: a settle of generation ${generation} after the claim of ${newer.generation}`,
        );
      }
      if (state !== "completed") continue;
      const before = done.get(id);
      if (before !== undefined && before.token !== token)
        report("doneTwice", `job ${id}: ${before.token} and ${token}`);
      else if (before === undefined) done.set(id, { token, at });
    }
  }
  for (const { id, at } of select(history, "start")) {
    const end = done.get(Number(id));
    if (end !== undefined && at > end.at) report("ranAfterDone", `job ${id}`);
  }
}

// ── Attempts ─────────────────────────────────────────────────────────────────

function checkAttempts(
  runs: readonly LoggedRun[],
  history: readonly Entry[],
  stored: readonly FinalJob[],
  report: Report,
): void {
  const runsById = groupBy(runs, (run) => run.id);
  const gone = goneProcesses(history);
  const lost = lostStarts(history, gone);
  for (const job of stored) {
    const own = runsById.get(job.id) ?? [];
    const spent = job.failures.length + (job.state === "completed" ? 1 : 0);
    if (job.attempt !== spent) {
      report(
        "attemptMiscounted",
        `job ${job.id}: attempt ${job.attempt}, with ${job.failures.length} failures, ${job.state}`,
      );
    }
    job.failures.forEach((failure, i) => {
      const where = `job ${job.id}, attempt ${failure.attempt} in ${failure.processId}`;
      if (failure.attempt !== i + 1) report("attemptMiscounted", `${where} is failure ${i + 1}`);
      if (failure.error !== "ProcessLostError") return;
      const ran = own.some((run) => run.process === failure.processId && run.attempt === failure.attempt);
      // The claim of a marked job counts as its start, and its process can die before the handler runs.
      if (!ran && !job.marked) report("attemptUnfounded", `${where}: it never started there`);
      if (!gone.has(failure.processId)) report("attemptUnfounded", `${where}: that process was never lost`);
    });
    if (job.state === "dead" && own.length === 0) report("deadUnstarted", `job ${job.id}`);
    // While it waits to be rescued, what it lost is not accounted for yet.
    if (job.state !== "completed" && job.state !== "dead") continue;
    for (const run of lost.get(Number(job.id)) ?? []) {
      const isSpent =
        job.failures.some((failure) => failure.processId === run) || job.result?.process === run;
      if (!isSpent) report("attemptMissing", `job ${job.id}: its run in ${run} is not accounted for`);
    }
  }
}

/** Process ids that died or fell silent. */
function goneProcesses(history: readonly Entry[]): Set<string> {
  const killed = killTimes(history);
  const gone = new Set<string>();
  for (const entry of history) {
    if (entry.what === "fenced") gone.add(entry.process);
    else if ("process" in entry && killed.has(entry.by)) gone.add(entry.process);
  }
  return gone;
}

/** Job → the lost processes that had told of its start, and of which no accepted settle of it is known. */
function lostStarts(history: readonly Entry[], gone: ReadonlySet<string>): Map<number, string[]> {
  const settled = new Set<string>();
  for (const { runs } of select(history, "settle")) {
    for (const [id, , token, , answer] of runs) if (answer === "settled") settled.add(`${id} ${token}`);
  }
  const lost = new Map<number, string[]>();
  for (const { process, starts } of select(history, "told")) {
    if (!gone.has(process)) continue;
    for (const [id, token] of starts) {
      if (settled.has(`${id} ${token}`)) continue;
      const known = lost.get(id);
      if (known === undefined) lost.set(id, [process]);
      else if (!known.includes(process)) known.push(process);
    }
  }
  return lost;
}

// ── Figures ──────────────────────────────────────────────────────────────────

/**
 * For every job that ran in a process when it was killed: how long until somebody had it in hand again, or
 * its end was known. In ms.
 */
export function recoveries(entries: readonly Entry[]): number[] {
  const history = [...entries].sort((a, b) => a.at - b.at);
  const killedAt = killTimes(history);
  const handled = new Map<number, { at: number; by: string }[]>();
  const note = (id: number, at: number, by: string): void => {
    const known = handled.get(id);
    if (known === undefined) handled.set(id, [{ at, by }]);
    else known.push({ at, by });
  };
  for (const entry of history) {
    if (entry.what === "rescue") for (const [id] of entry.jobs) note(id, entry.at, entry.by);
    else if (entry.what === "claim") for (const [id] of entry.jobs) note(id, entry.at, entry.by);
    else if (entry.what === "start") note(Number(entry.id), entry.at, entry.by);
  }
  const ended = new Set(
    select(history, "end").map(({ id, process, attempt }) => `${id} ${process} ${attempt}`),
  );
  const times: number[] = [];
  for (const { id, process, attempt, by } of select(history, "start")) {
    const killed = killedAt.get(by);
    if (killed === undefined || ended.has(`${id} ${process} ${attempt}`)) continue;
    const next = handled.get(Number(id))?.find((one) => one.at > killed && one.by !== by);
    times.push(next === undefined ? Number.POSITIVE_INFINITY : (next.at - killed) / 1_000);
  }
  return times;
}
