import type { JobHandle } from "../handle.ts";
import { checkName } from "../job/name.ts";
import type { NewJob, Storage, StoredSchedule } from "../storage/storage.ts";
import type { ScheduleDeclaration } from "./declaration.ts";
import { entryText, type MissedPolicy, type OverlapPolicy, readEntry, type ScheduleEntry } from "./entry.ts";
import { nextTick } from "./fire.ts";
import { change, entryOf, save, type SeenSchedules } from "./save.ts";
import { tickAfter } from "./timing.ts";

/** A schedule as it stands. */
export interface Schedule {
  readonly key: string;
  /** Of the jobs it makes. */
  readonly name: string;
  readonly queue: string;
  readonly payload: unknown;
  /** The interval in ms, or the expression and its zone. */
  readonly timing:
    | { readonly kind: "every"; readonly everyMs: number }
    | { readonly kind: "cron"; readonly expression: string; readonly zone: string };
  readonly missed: MissedPolicy;
  readonly overlap: OverlapPolicy;
  /** Whether it stands in the code of workers; otherwise a call made it. */
  readonly declared: boolean;
  readonly paused: boolean;
  /** The next five ticks; none while it is paused. */
  readonly next: readonly Date[];
  /** The last tick, and the last job that one made: with `overlap: "skip"` not every tick makes one. */
  readonly lastTickAt?: Date;
  readonly lastJobId?: string;
  readonly until?: Date;
}

/** What schedules need of the jobs around them. */
export interface SchedulesDeps {
  readonly storage: Storage;
  checkOpen(): void;
  /** The job that a tick makes, checked and with all options resolved. */
  prepare(declaration: ScheduleDeclaration): Promise<NewJob>;
  handle(id: string): JobHandle;
  /** Something may be due earlier than workers of this process know. */
  changed(): void;
}

/** The schedules of a storage: `jobs.schedules`. */
export class Schedules {
  readonly #deps: SchedulesDeps;

  /** @internal */
  constructor(deps: SchedulesDeps) {
    this.#deps = deps;
  }

  /** Add one, or change the one that has its key. @internal */
  async save(declaration: ScheduleDeclaration, declared: boolean, seen?: SeenSchedules): Promise<void> {
    const { storage, prepare, changed, checkOpen } = this.#deps;
    checkOpen();
    await save(storage, declaration, await prepare(declaration), declared, seen);
    changed();
  }

  /** All of them, by key. */
  async list(): Promise<Schedule[]> {
    const stored = await this.#deps.storage.schedules();
    // Good enough to show what comes next, and not only for those who may work.
    const now = this.#deps.storage.clock.now();
    return stored
      .flatMap((one) => viewOf(one, now) ?? [])
      .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }

  /** One of them, or `undefined`. */
  async get(key: string): Promise<Schedule | undefined> {
    checkName(key, "key");
    return (await this.list()).find((one) => one.key === key);
  }

  /** No more ticks until {@link resume}, durably and for all processes; those that pass meanwhile are not missed. `false`: there is none, or it is paused already. */
  pause(key: string): Promise<boolean> {
    return this.#steer(key, (entry) =>
      entry.paused === true ? undefined : { entry: { ...entry, paused: true }, nextAt: null },
    );
  }

  /** Ticks again, from now on. `false`: there is none, or it is not paused. */
  async resume(key: string): Promise<boolean> {
    const { now } = await this.#deps.storage.dueSchedules(1);
    return this.#steer(key, ({ paused, ...entry }) =>
      paused === true ? { entry, nextAt: nextTick(entry, now) } : undefined,
    );
  }

  /** Take it out. One that code declares comes back with the next start of that code. `false`: there is none. */
  async remove(key: string): Promise<boolean> {
    this.#check(key);
    const { answer } = await change(this.#deps.storage, key, (stored) =>
      stored === undefined ? { answer: false } : { write: {}, answer: true },
    );
    return answer;
  }

  /**
   * Make its job now, whatever it waits for and also while it is paused; its ticks stay as they are. Answers the
   * job's handle, or `undefined` when there is no such schedule, or a unique key of the job is held.
   */
  async trigger(key: string): Promise<JobHandle | undefined> {
    this.#check(key);
    const { jobs } = await change(this.#deps.storage, key, (stored) => {
      const entry = stored === undefined ? undefined : visible(entryOf(stored));
      if (stored === undefined || entry === undefined) return { answer: undefined };
      const { text, nextAt } = stored;
      return { write: { row: { text, nextAt }, jobs: [entry.job] }, answer: undefined };
    });
    const id = jobs[0]?.id;
    return id === undefined ? undefined : this.#deps.handle(String(id));
  }

  async #steer(
    key: string,
    what: (
      entry: ScheduleEntry,
    ) => { readonly entry: ScheduleEntry; readonly nextAt: number | null } | undefined,
  ): Promise<boolean> {
    this.#check(key);
    const { answer } = await change(this.#deps.storage, key, (stored) => {
      const entry = stored === undefined ? undefined : visible(entryOf(stored));
      const done = entry === undefined ? undefined : what(entry);
      if (done === undefined) return { answer: false };
      return { write: { row: { text: entryText(key, done.entry), nextAt: done.nextAt } }, answer: true };
    });
    if (answer) this.#deps.changed();
    return answer;
  }

  #check(key: string): void {
    checkName(key, "key");
    this.#deps.checkOpen();
  }
}

/** For those who look, one that no living code declares is not there. */
function visible(entry: ScheduleEntry): ScheduleEntry | undefined {
  return entry.orphan === undefined ? entry : undefined;
}

/** How many ticks to come are shown. */
const NEXT_TICKS = 5;

function viewOf(stored: StoredSchedule, now: number): Schedule | undefined {
  const entry = readEntry(stored.text);
  if (entry === undefined || visible(entry) === undefined) return undefined;
  const { timing, job, missed, overlap, lastTickAt, until } = entry;
  return {
    key: stored.key,
    name: job.name,
    queue: job.queue,
    payload: JSON.parse(job.payload) as unknown,
    timing: timing.kind === "every" ? { kind: "every", everyMs: timing.everyMs } : timing,
    missed,
    overlap,
    declared: entry.declared === true,
    paused: entry.paused === true,
    next: nextTicks(stored, entry, now),
    ...(lastTickAt === undefined ? {} : { lastTickAt: new Date(lastTickAt) }),
    ...(stored.lastId === undefined ? {} : { lastJobId: String(stored.lastId) }),
    ...(until === undefined ? {} : { until: new Date(until) }),
  };
}

function nextTicks({ nextAt }: StoredSchedule, { timing, until }: ScheduleEntry, now: number): Date[] {
  const ticks: Date[] = [];
  for (let at = nextAt; at !== null && ticks.length < NEXT_TICKS;) {
    if (at > (until ?? Number.POSITIVE_INFINITY)) break;
    ticks.push(new Date(at));
    try {
      // What is due already is made up for in one go.
      at = tickAfter(timing, Math.max(at, now));
    } catch {
      // A zone that this Node does not know: one that does wrote it.
      at = null;
    }
  }
  return ticks;
}
