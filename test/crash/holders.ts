/**
 * Judges unique keys in a crash test: what the processes wrote down, and looks at the storage. Pure; `holders.test.ts`
 * provokes every rule on hand-made histories. No rule compares two clocks, or trusts the order of two answers: each
 * goes by instants at which a job was live for certain, on the kernel's monotonic clock.
 */

/** A line of the log; `at`, `sentAt` and `liveAt` are in microseconds of the kernel's monotonic clock. */
export type HolderEntry = { readonly at: number; readonly by: string } & (
  | { readonly what: "asked"; readonly call: string; readonly key: string; readonly after?: string }
  | {
      readonly what: "answered";
      readonly call: string;
      readonly key: string;
      readonly sentAt: number;
      readonly status: "created" | "existing" | "replaced" | "held";
      readonly id: string;
    }
  /** The job was seen to have ended. `liveAt`: when it was asked to end, which was what ended it. */
  | { readonly what: "over"; readonly id: string; readonly liveAt?: number }
  | { readonly what: "start" | "end"; readonly process: string; readonly id: string }
  | { readonly what: "beat"; readonly process: string; readonly sentAt: number }
  | {
      readonly what: "claim";
      readonly process: string;
      readonly jobs: readonly (readonly [number, number, string, boolean])[];
    }
  | {
      readonly what: "settle";
      readonly sentAt: number;
      readonly runs: readonly (readonly [number, number, string, string, string])[];
    }
);

/** What a key of the test means. */
export interface KeyRule {
  readonly key: string;
  readonly kind: "live" | "waiting" | "for";
  readonly forMs?: number;
}

/** A job in the storage at the end. */
export interface HolderJob {
  readonly id: string;
  readonly key: string;
  readonly state: string;
  readonly generation: number;
  readonly createdAt: number;
}

/** One scan of all jobs that wait or run, state by state. */
export type Scan = readonly {
  readonly id: string;
  readonly key: string;
  readonly state: string;
  readonly generation: number;
}[];

export interface HolderVerdict {
  readonly violations: readonly string[];
  readonly answers: Readonly<Record<"created" | "existing" | "replaced" | "held", number>>;
  /** For each time that a key was asked for as soon as its job was seen to have ended: how long until that was answered, ascending, in ms. */
  readonly probesMs: readonly number[];
  /** The same for all that was asked. */
  readonly answersMs: readonly number[];
}

export function checkHolders(
  entries: readonly HolderEntry[],
  jobs: readonly HolderJob[],
  rules: readonly KeyRule[],
  { lostAfterMs }: { readonly lostAfterMs: number },
): HolderVerdict {
  const violations: string[] = [];
  const kinds = new Map(rules.map((rule) => [rule.key, rule]));
  const stored = new Map(jobs.map((job) => [job.id, job]));
  const lives = livesOf(entries, lostAfterMs);
  const answers = { created: 0, existing: 0, replaced: 0, held: 0 };
  for (const entry of entries) {
    if (entry.what !== "answered") continue;
    const { id, key, status, sentAt, at } = entry;
    answers[status] += 1;
    const job = stored.get(id);
    if (job === undefined || job.key !== key) {
      violations.push(`${job === undefined ? "lost" : "wrong"}: ${status} ${id} for ${key}`);
      continue;
    }
    const life = lives.get(id);
    if (status === "created" || life === undefined) continue;
    const { kind } = kinds.get(key) as KeyRule;
    if (life.askedAt !== undefined && life.askedAt > at)
      violations.push(`unborn: ${status} ${id} for ${key}, before it was asked for`);
    // What time holds is held after the job's end, too.
    if (kind !== "for" && life.endAt < sentAt)
      violations.push(`stale: ${status} ${id} for ${key}, ${(sentAt - life.endAt) / 1_000} ms after its end`);
    if (kind === "waiting" && job.generation === 0 && life.claimedAt < sentAt)
      violations.push(`stale: ${status} ${id} for ${key}, which ran by then`);
  }
  for (const rule of rules) {
    const own = jobs.filter(({ key }) => key === rule.key);
    if (rule.kind === "live") violations.push(...overlaps(rule.key, own, lives));
    if (rule.kind === "for") violations.push(...tooSoon(rule, own));
  }
  for (const { id, key, state } of jobs)
    if (!["completed", "cancelled", "dead"].includes(state))
      violations.push(`unended: ${id} for ${key} is ${state}`);
  return { violations, answers, ...timesOf(entries) };
}

/**
 * Jobs that were in the way of each other between two scans. One that both have seen live was live all the time
 * between the two; one that both have seen waiting, with nothing run, was waiting.
 */
export function checkScans(first: Scan, second: Scan, rules: readonly KeyRule[]): string[] {
  const kinds = new Map(rules.map(({ key, kind }) => [key, kind]));
  const before = new Map(first.map((job) => [job.id, job]));
  const holders = new Map<string, string>();
  const violations: string[] = [];
  for (const { id, key, state, generation } of second) {
    const earlier = before.get(id);
    const kind = kinds.get(key);
    if (earlier === undefined || kind === "for") continue;
    const waited = [earlier.state, state].every((one) => one !== "running") && generation === 0;
    if (kind === "waiting" && !waited) continue;
    const other = holders.get(key);
    if (other !== undefined && other !== id)
      violations.push(`two: ${other} and ${id} are ${kind} with ${key} at once`);
    holders.set(key, id);
  }
  return violations;
}

/** What is known for certain of a job's life, in microseconds. */
interface Life {
  /** When its enqueue was asked for, and answered, if that was written down. */
  askedAt: number | undefined;
  createdAt: number;
  /** First and last instant at which it was live. */
  firstAt: number;
  lastAt: number;
  claimedAt: number;
  /** By then it had ended. */
  endAt: number;
}

function livesOf(entries: readonly HolderEntry[], lostAfterMs: number): Map<string, Life> {
  const lives = new Map<string, Life>();
  const of = (id: string): Life => {
    let life = lives.get(id);
    if (life === undefined) {
      const never = Number.POSITIVE_INFINITY;
      const times = { createdAt: never, firstAt: never, lastAt: 0, claimedAt: never, endAt: never };
      lives.set(id, (life = { askedAt: undefined, ...times }));
    }
    return life;
  };
  const live = (id: string, at: number): void => {
    const life = of(id);
    life.firstAt = Math.min(life.firstAt, at);
    life.lastAt = Math.max(life.lastAt, at);
  };
  const isTrusted = trust(entries, lostAfterMs);
  for (const entry of entries) {
    const { at, what } = entry;
    if (what === "answered" && entry.status === "created") {
      const life = of(entry.id);
      life.askedAt = entry.sentAt;
      life.createdAt = at;
    } else if (what === "start" || what === "end") {
      if (isTrusted(entry.process, at)) live(entry.id, at);
    } else if (what === "claim") {
      for (const [id] of entry.jobs) {
        const life = of(String(id));
        life.claimedAt = Math.min(life.claimedAt, at);
        if (isTrusted(entry.process, at)) live(String(id), at);
      }
    } else if (what === "settle") {
      for (const [id, , , state, answer] of entry.runs) {
        if (answer !== "settled") continue;
        live(String(id), entry.sentAt);
        const life = of(String(id));
        if (state === "completed" || state === "dead" || state === "cancelled")
          life.endAt = Math.min(life.endAt, at);
      }
    } else if (what === "over") {
      if (entry.liveAt !== undefined) live(entry.id, entry.liveAt);
      const life = of(entry.id);
      life.endAt = Math.min(life.endAt, at);
    }
  }
  return lives;
}

/** Whether nobody could take a process for lost at an instant: then what it holds is its own. */
function trust(
  entries: readonly HolderEntry[],
  lostAfterMs: number,
): (process: string, at: number) => boolean {
  const beats = new Map<string, number[]>();
  for (const entry of entries) {
    if (entry.what !== "beat") continue;
    const known = beats.get(entry.process);
    if (known === undefined) beats.set(entry.process, [entry.sentAt]);
    else known.push(entry.sentAt);
  }
  return (process, at) =>
    beats.get(process)?.some((sentAt) => sentAt <= at && at < sentAt + lostAfterMs * 1_000) ?? false;
}

/** Live jobs of one key that were live at once. */
function overlaps(key: string, jobs: readonly HolderJob[], lives: ReadonlyMap<string, Life>): string[] {
  const spans = jobs
    .flatMap(({ id }) => {
      const life = lives.get(id);
      if (life === undefined) return [];
      // Stored by the time of its answer, and not ended before the last instant it was seen live.
      const from = Math.min(life.createdAt, life.firstAt);
      return from < life.lastAt ? [{ id, from, until: life.lastAt }] : [];
    })
    .sort((a, b) => a.from - b.from);
  const violations: string[] = [];
  let before: (typeof spans)[number] | undefined;
  for (const span of spans) {
    if (before !== undefined && span.from < before.until) {
      const ms = (Math.min(before.until, span.until) - span.from) / 1_000;
      violations.push(`two: ${before.id} and ${span.id} were live with ${key} for ${ms} ms`);
    }
    if (before === undefined || span.until > before.until) before = span;
  }
  return violations;
}

/** Jobs of a key that was still held by time; by the storage's one clock. */
function tooSoon({ key, forMs = 0 }: KeyRule, jobs: readonly HolderJob[]): string[] {
  const sorted = [...jobs].sort((a, b) => a.createdAt - b.createdAt);
  return sorted.flatMap(({ id, createdAt }, i) => {
    const before = sorted[i - 1];
    if (before === undefined || createdAt - before.createdAt >= forMs) return [];
    return [`soon: ${before.id} and ${id} took ${key} within ${createdAt - before.createdAt} ms`];
  });
}

function timesOf(entries: readonly HolderEntry[]): Pick<HolderVerdict, "probesMs" | "answersMs"> {
  const over = new Map<string, number>();
  const endOf = new Map<string, number>();
  const probesMs: number[] = [];
  const answersMs: number[] = [];
  for (const entry of entries) {
    if (entry.what === "over") over.set(`${entry.by} ${entry.id}`, entry.at);
    else if (entry.what === "asked" && entry.after !== undefined)
      endOf.set(entry.call, over.get(`${entry.by} ${entry.after}`) as number);
    else if (entry.what === "answered") {
      const endAt = endOf.get(entry.call);
      if (endAt !== undefined) probesMs.push((entry.at - endAt) / 1_000);
      answersMs.push((entry.at - entry.sentAt) / 1_000);
    }
  }
  const ascending = (a: number, b: number): number => a - b;
  return { probesMs: probesMs.sort(ascending), answersMs: answersMs.sort(ascending) };
}
