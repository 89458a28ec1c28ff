/** What the random sequences beside the model must meet. */
export const MODEL_EVENTS = [
  "enqueue: several groups in one call",
  "enqueue: batch id repeated",
  "enqueue: batch id forgotten and used anew",
  "enqueue: given id met the same payload",
  "enqueue: given id met another payload",
  "enqueue: given id used anew after its job went",
  "enqueue: a group refused beside a stored one",
  "enqueue: past instant",
  "enqueue: flood",
  "unique: kept out",
  "unique: replaced",
  "unique: refused",
  "unique: refused within its group",
  "unique: checkpoint of the last job of the key handed on",
  "limit: blocked by promotion",
  "limit: parked by a claim",
  "limit: let in by an end",
  "limit: let in by a change",
  "claim: jobs given",
  "claim: limited by room and read-ahead",
  "claim: several priorities merged",
  "claim: marked job given",
  "claim: marked job passed over",
  "claim: paused job passed over",
  "claim: checkpoint handed on",
  "claim: checkpoint dropped by an end",
  "claim: process not known",
  "claim: ask delivered",
  "claim: released job at its old place",
  "settle: stale",
  "settle: repeated",
  "settle: same lease twice in one call",
  "settle: jobs enqueued with it",
  "settle: jobs withheld from a stale one",
  "settle: by a lost process before its rescue",
  "settle: cancel was asked",
  "settle: removed at once",
  "settle: completed",
  "settle: dead",
  "settle: cancelled",
  "settle: scheduled",
  "settle: scheduled for now",
  "settle: released",
  "settle: released and marked",
  "settle: rescued job decided",
  "settle: attempt entry forgotten",
  "note: saved",
  "note: stale",
  "note: old log lines dropped",
  "beat: lease lost",
  "beat: ask delivered",
  "beat: process not known",
  "rescue: started job",
  "rescue: job only read ahead",
  "rescue: marked job",
  "rescue: second time",
  "rescue: limited",
  "rescue: after leaving",
  "rescue: by a process not known",
  "promote: limited",
  "promote: several due",
  "schedule: written",
  "schedule: refused",
  "schedule: removed",
  "schedule: job stored",
  "schedule: job left out",
  "schedule: held up by a live job",
  "schedule: several due",
  "prune: jobs gone",
  "prune: limited",
  "list: several pages",
  "list: filtered",
  "change: changed",
  "change: asked",
  "change: unchanged",
  "change: missing",
  "change: conflict",
  "change: removed",
  "change: finished job retried",
] as const;
export type ModelEvent = (typeof MODEL_EVENTS)[number];

/** What the clients that call at once must meet. */
export const CONCURRENT_EVENTS = [
  "calls: several of one client in one turn",
  "enqueue: batch id used by two clients",
  "enqueue: given id used by two clients",
  "enqueue: unique key held",
  "claim: two clients at once",
  "claim: as many of a limit key as may run",
  "settle: same lease at once with another end",
  "settle: refused after a rescue",
  "settle: by a process that left, before its rescue",
  "settle: with a job",
  "rescue: two clients at once",
  "rescue: lease moved",
  "cancel: waiting job",
  "cancel: running job",
  "settle: an ask was heeded",
] as const;
export type ConcurrentEvent = (typeof CONCURRENT_EVENTS)[number];

/**
 * Counts what a run met. What it is there to meet must come at least once: a generator that never gets
 * there tests less than it says.
 */
export class Coverage<Event extends string> {
  readonly #counts: Map<string, number> = new Map();

  see(what: Event, isTrue: boolean = true): void {
    if (isTrue) this.#counts.set(what, this.count(what) + 1);
  }

  seeCommand(name: string): void {
    this.#counts.set(`command ${name}`, this.count(`command ${name}`) + 1);
  }

  count(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** What was never met. */
  missing(events: readonly Event[], commands: readonly string[] = []): string[] {
    const wanted = [...events, ...commands.map((name) => `command ${name}`)];
    return wanted.filter((what) => this.count(what) === 0);
  }

  /** The rarest first. */
  report(): string {
    const rows = [...this.#counts].toSorted(([, a], [, b]) => a - b);
    return rows.map(([what, n]) => `${String(n).padStart(8)}  ${what}`).join("\n");
  }
}
