/**
 * Judges limit keys in a crash test: what the processes wrote down, and looks at the storage. Pure; `slots.test.ts`
 * provokes every rule on hand-made histories. All instants are microseconds of the kernel's monotonic clock.
 */

export type SlotEntry = { readonly at: number; readonly by: string } & (
  | {
      readonly what: "start" | "end";
      readonly process: string;
      readonly id: string;
      readonly key: string;
    }
  | { readonly what: "kill"; readonly target: string }
  | { readonly what: "beat"; readonly process: string; readonly sentAt: number }
  /** Leases given: id, generation, token, marked. */
  | {
      readonly what: "claim";
      readonly process: string;
      readonly jobs: readonly (readonly [number, number, string, boolean])[];
    }
  /** Leases ended: id, generation, token, state, answer. */
  | {
      readonly what: "settle";
      readonly sentAt: number;
      readonly runs: readonly (readonly [number, number, string, string, string])[];
    }
);

export interface SlotVerdict {
  readonly violations: readonly string[];
  /** By key: the most that ran at once, and the most slots that were held at once, reading ahead and waiting for rescue included. */
  readonly ran: Readonly<Record<string, number>>;
  readonly held: Readonly<Record<string, number>>;
}

/**
 * @param keyOf the limit key of a job, by id
 * @param limits how many of each key may run
 */
export function checkSlots(
  entries: readonly SlotEntry[],
  keyOf: ReadonlyMap<string, string>,
  limits: Readonly<Record<string, number>>,
  { lostAfterMs }: { readonly lostAfterMs: number },
): SlotVerdict {
  const violations: string[] = [];
  const ran: Record<string, number> = {};
  const held: Record<string, number> = {};
  const spans = { ran: runsOf(entries, lostAfterMs), held: leasesOf(entries) };
  for (const [key, limit] of Object.entries(limits)) {
    for (const [how, most] of [["ran", ran] as const, ["held", held] as const]) {
      const peak = peakOf(spans[how].filter(({ id }) => keyOf.get(id) === key));
      most[key] = peak.n;
      if (peak.n > limit)
        violations.push(`over: ${peak.n} of ${key} ${how} at once, ${limit} may: ${peak.ids.join(", ")}`);
    }
  }
  return { violations, ran, held };
}

interface Span {
  readonly id: string;
  readonly from: number;
  readonly until: number;
}

/** Runs as handlers saw them. One that was cut off ends with its process, or when others may take that for lost. */
function runsOf(entries: readonly SlotEntry[], lostAfterMs: number): Span[] {
  const open = new Map<string, { readonly id: string; readonly by: string; readonly from: number }>();
  const beatAt = new Map<string, number>();
  const spans: Span[] = [];
  const close = (run: string, at: number, process: string): void => {
    const started = open.get(run);
    if (started === undefined) return;
    open.delete(run);
    const safeUntil = (beatAt.get(process) ?? started.from) + lostAfterMs * 1_000;
    spans.push({ id: started.id, from: started.from, until: Math.min(at, safeUntil) });
  };
  for (const entry of entries) {
    if (entry.what === "start") {
      const { process, id, by, at } = entry;
      open.set(`${process} ${id}`, { id, by, from: at });
    } else if (entry.what === "end") close(`${entry.process} ${entry.id}`, entry.at, entry.process);
    else if (entry.what === "beat") beatAt.set(entry.process, entry.sentAt);
    else if (entry.what === "kill") {
      for (const [run, { by }] of open)
        if (by === entry.target) close(run, entry.at, run.slice(0, run.lastIndexOf(" ")));
    }
  }
  return spans;
}

/**
 * Leases: from the answer that gave one until the settle that ended it was sent, by its holder or by whoever rescued it.
 * A claim whose answer nobody lived to write down is not counted.
 */
function leasesOf(entries: readonly SlotEntry[]): Span[] {
  const from = new Map<string, number>();
  const spans: Span[] = [];
  for (const entry of entries) {
    if (entry.what === "claim") {
      for (const [id, generation] of entry.jobs) from.set(`${id} ${generation}`, entry.at);
    } else if (entry.what === "settle") {
      for (const [id, generation, , , answer] of entry.runs) {
        const at = from.get(`${id} ${generation}`);
        if (answer !== "settled" || at === undefined) continue;
        from.delete(`${id} ${generation}`);
        spans.push({ id: String(id), from: at, until: entry.sentAt });
      }
    }
  }
  return spans;
}

/** The most that there were at once, and which. */
function peakOf(spans: readonly Span[]): { readonly n: number; readonly ids: readonly string[] } {
  const edges = spans
    .filter(({ from, until }) => from < until)
    .flatMap(({ id, from, until }) => [
      { at: from, id, isStart: true },
      { at: until, id, isStart: false },
    ])
    // Who ends when another one starts has made room for it.
    .sort((a, b) => a.at - b.at || Number(a.isStart) - Number(b.isStart));
  const now = new Set<string>();
  let most: string[] = [];
  for (const { id, isStart } of edges) {
    if (isStart) now.add(id);
    else now.delete(id);
    if (now.size > most.length) most = [...now];
  }
  return { n: most.length, ids: most };
}

/** What one look saw of a key. */
export interface SlotLook {
  readonly at: number;
  readonly running: number;
  readonly waiting: number;
}

/**
 * Watches for a key that stands still: work waits, slots are free, and nothing of it starts, look after look.
 */
export class StandstillWatch {
  /** By key: since when it has stood. */
  readonly #since = new Map<string, number>();
  longestMs = 0;

  look(key: string, limit: number, lastStartAt: number, { at, running, waiting }: SlotLook): void {
    const since = this.#since.get(key);
    if (waiting === 0 || running >= limit || (since !== undefined && lastStartAt > since)) {
      this.#since.delete(key);
      return;
    }
    if (since === undefined) this.#since.set(key, at);
    else this.longestMs = Math.max(this.longestMs, (at - since) / 1_000);
  }
}
