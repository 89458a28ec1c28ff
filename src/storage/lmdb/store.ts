import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { StorageClosedError, StorageUnavailableError } from "../../errors.ts";
import type { JobId } from "../../job/job.ts";
import { type DurableTables, Environments, type EnvironmentOptions } from "./environments.ts";
import { isBroken, typedError } from "./failures.ts";
import type { Gate } from "./gate.ts";
import { Instances } from "./instances.ts";
import type { KeptJob, SpecCache } from "./job.ts";
import { HIGHEST_KEY, LOWEST_KEY, pairKey } from "./keys.ts";
import { Lanes } from "./lanes.ts";
import { type DurableState, type Follow, Ledger, type News } from "./ledger.ts";
import { Leases } from "./leases.ts";
import { type FixedLength, WANTS } from "./records.ts";
import { repair, wipe, writeFreed } from "./repair.ts";
import { Watchers } from "./watchers.ts";

/**
 * An open folder: its environments, the gate before them, and what this process remembers of them. All
 * `LmdbStorage`s of a process on one folder share one, because a second environment on the same files, or
 * a second gate, would be blind to the first.
 *
 * One lock order everywhere: the gate, the durable write, then the volatile one that follows it.
 */
export class Store {
  readonly label: string;
  readonly environments: Environments;
  readonly lanes: Lanes = new Lanes();
  readonly watchers: Watchers;
  readonly instances: Instances;
  readonly #folder: string;
  readonly #gate: Gate;
  #state: DurableState = { seq: 0, changes: 0, numbers: 0, schedules: 0 };
  readonly #specs: SpecCache = new Map();
  #upkeep: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** What others were told this process wants to hear of. */
  #told = { wants: 0, awaited: new Set<JobId>() };
  #isTelling = false;

  constructor(folder: string, label: string, gate: Gate, options: EnvironmentOptions) {
    this.label = label;
    this.#folder = folder;
    this.#gate = gate;
    this.environments = new Environments(folder, options);
    this.watchers = new Watchers(() => void this.#tell());
    this.instances = new Instances(join(folder, "instances"), label, () => this.watchers.ringAll());
  }

  get durable(): Environments["durable"] {
    return this.environments.durable;
  }

  get volatile(): Environments["volatile"] {
    return this.environments.volatile;
  }

  /** Open the environments, wipe what is of no use any more, and register this process. */
  async open(prepare: (environments: Environments) => void): Promise<void> {
    try {
      await this.#gate.pass(() => {
        this.environments.open();
        this.environments.recover();
        prepare(this.environments);
        this.#refresh(true);
        this.instances.enter(this.volatile, (body) => this.environments.writeVolatile(body));
      });
    } catch (error) {
      await this.close();
      throw typedError(error, this.label, this.#folder);
    }
    this.#upkeep = setInterval(() => void this.#lookAfter(), UPKEEP_MS);
    this.#upkeep.unref();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#upkeep);
    this.watchers.stopAll();
    await this.#gate
      .pass(() => {
        try {
          if (this.environments.isOpen) {
            this.instances.leave(this.volatile, (body) => this.environments.writeVolatile(body));
          }
        } finally {
          this.environments.close();
        }
      })
      // What is left behind, the next one clears away.
      .catch(() => this.environments.close());
    this.instances.close();
    await this.#gate.close();
  }

  // ── In and out of the store ────────────────────────────────────────────────

  /**
   * Do something with the store to oneself. `work` is synchronous, short, and safe to repeat: when an
   * environment turns out to be broken, it is opened anew and `work` is done once more.
   */
  hold<T>(work: () => T): Promise<T> {
    return this.#gate.pass(() => {
      try {
        return this.#inside(work);
      } catch (error) {
        if (!isBroken(error)) throw typedError(error, this.label, this.#folder);
      }
      try {
        this.environments.close();
        return this.#inside(work);
      } catch (error) {
        if (!isBroken(error)) throw typedError(error, this.label, this.#folder);
        throw new StorageUnavailableError(
          `${this.label} could not be opened again: ${(error as Error).message}`,
          {
            cause: error,
          },
        );
      }
    });
  }

  #inside<T>(work: () => T): T {
    if (this.#isClosed) throw new StorageClosedError(this.label);
    const wasOpen = this.environments.isOpen;
    if (!wasOpen) this.environments.open();
    this.environments.recover();
    this.#refresh(!wasOpen);
    return work();
  }

  /**
   * Look without holding up anyone. What is read belongs together: the two environments were at the same
   * point, with the volatile one never ahead.
   */
  async read<T>(look: () => T): Promise<T> {
    for (let tries = 0; tries < READ_TRIES; tries++) {
      if (this.#isClosed) throw new StorageClosedError(this.label);
      try {
        if (this.environments.isOpen && this.#isInStep()) return look();
      } catch (error) {
        if (!isBroken(error)) throw typedError(error, this.label, this.#folder);
        break;
      }
      await turn();
    }
    // Someone is in the middle of a write for long, or died there: inside the gate it is put right.
    return this.hold(look);
  }

  /** Commit a durable write, let the volatile data follow, and tell who waits. Inside {@link hold}. */
  writeDurable(now: number, body: (ledger: Ledger) => void): void {
    const state = { ...this.#state };
    const { durable, volatile, lanes } = this;
    const isAwaited = (id: JobId): boolean => this.#isAwaited(id);
    const ledger = new Ledger(now, { durable, volatile, lanes, specs: this.#specs, isAwaited }, state);
    try {
      this.environments.writeDurable(() => {
        body(ledger);
        ledger.finish();
        if (hasFollow(ledger.follow)) state.changes += 1;
        if (ledger.follow.freed.length > 0) writeFreed(durable, state.changes, ledger.follow.freed);
        writeState(durable, state, lanes);
      });
    } catch (error) {
      // Lanes and policies that were to be added are not.
      lanes.forget();
      throw error;
    }
    this.#state = state;
    for (const id of ledger.follow.drops.keys()) this.#specs.delete(id);
    this.environments.refreshDurable();
    if (hasFollow(ledger.follow)) {
      this.writeVolatile((leases) => {
        leases.follow(ledger.follow);
        leases.tables.meta.put(CHANGES, String(state.changes));
      });
    }
    this.tell(ledger.news);
  }

  /** Whether there is any schedule. Inside {@link hold}. */
  get hasSchedules(): boolean {
    return this.#state.schedules > 0;
  }

  writeVolatile(body: (leases: Leases) => void): void {
    this.environments.writeVolatile(() => {
      const leases = new Leases(this.volatile);
      body(leases);
      leases.finish();
    });
    this.environments.refreshVolatile();
  }

  /** A job was given out here: its end will be recorded here too, most likely. */
  remember({ id, spec, record }: KeptJob): void {
    if (this.#specs.size >= SPECS_MAX) this.#specs.clear();
    // Without the payload: it may be large, and no outcome needs it.
    this.#specs.set(id, { generation: record.head.generation, spec: { ...spec, payload: "" } });
  }

  /** Wake who waits, here at once and elsewhere by their bells. */
  tell(news: News): void {
    this.watchers.tell(news);
    const what =
      (news.available.size > 0 ? WANTS.available : 0) |
      (news.finished.length > 0 ? WANTS.finished : 0) |
      (news.asked.size > 0 ? WANTS.asked : 0);
    if (what !== 0) this.instances.ring(this.volatile, what);
  }

  // ── Keeping in step ────────────────────────────────────────────────────────

  /** Inside the gate: see everything committed, and put right what a process left that died between two writes. */
  #refresh(isFirst: boolean): void {
    const { environments, lanes } = this;
    environments.refreshVolatile();
    environments.refreshDurable();
    const { state, marks } = readState(environments);
    lanes.catchUp(this.durable, marks);
    this.#state = state;
    const followed = Number(this.volatile.meta.get(CHANGES) ?? 0);
    if (followed === state.changes && !isFirst) return;
    // The durable data are older than the volatile: a backup was put in their place.
    const isReplaced = followed > state.changes || (isFirst && isAhead(environments, state));
    if (isReplaced) {
      wipe(environments);
      environments.refreshVolatile();
      this.#specs.clear();
    } else if (followed === state.changes) {
      return;
    }
    this.writeVolatile((leases) => {
      repair(this.durable, lanes, leases, state.changes);
      leases.tables.meta.put(CHANGES, String(state.changes));
    });
  }

  /** Without the gate: whether both snapshots, taken now, belong together. */
  #isInStep(): boolean {
    const { environments } = this;
    // First the volatile one: a claim that it shows is of a job that the durable one, taken later, knows.
    environments.refreshVolatile();
    const followed = Number(this.volatile.meta.get(CHANGES) ?? 0);
    environments.refreshDurable();
    const { state, marks } = readState(environments);
    if (state.changes !== followed) return false;
    this.lanes.catchUp(this.durable, marks);
    return true;
  }

  #isAwaited(id: JobId): boolean {
    if (this.watchers.isAwaited(id)) return true;
    return this.volatile.awaited.first(pairKey(id, 0), pairKey(id, Number.MAX_SAFE_INTEGER)) !== undefined;
  }

  // ── Telling other processes what this one waits for ────────────────────────

  async #tell(): Promise<void> {
    // One at a time: what comes meanwhile goes together.
    if (this.#isTelling || this.#isClosed) return;
    this.#isTelling = true;
    try {
      while (!this.#isClosed && this.#hasNewWants()) {
        await this.#gate.pass(() => {
          if (!this.environments.isOpen) return;
          this.environments.refreshVolatile();
          this.#writeWants();
        });
      }
    } catch {
      // A hint that did not get through: polling goes on.
    } finally {
      this.#isTelling = false;
    }
  }

  #hasNewWants(): boolean {
    if (this.watchers.wants !== this.#told.wants) return true;
    const awaited = this.watchers.awaited;
    if (awaited.size !== this.#told.awaited.size) return true;
    for (const id of awaited.keys()) if (!this.#told.awaited.has(id)) return true;
    return false;
  }

  #writeWants(): void {
    const { wants } = this.watchers;
    const write = (body: () => void): void => this.environments.writeVolatile(body);
    if (wants !== this.#told.wants) this.instances.want(this.volatile, write, wants);
    const awaited = new Set([...this.watchers.awaited.keys()].slice(0, AWAITED_MAX));
    const { number } = this.instances;
    write(() => {
      for (const id of awaited) {
        if (!this.#told.awaited.has(id)) this.volatile.awaited.put(pairKey(id, number), "");
      }
      for (const id of this.#told.awaited) {
        if (!awaited.has(id)) this.volatile.awaited.remove(pairKey(id, number));
      }
    });
    this.#told = { wants, awaited };
  }

  async #lookAfter(): Promise<void> {
    try {
      await this.#gate.pass(() => {
        if (!this.environments.isOpen) return;
        this.environments.refreshVolatile();
        this.environments.forgetDeadReaders();
        this.instances.forgetDead(this.volatile, (body) => this.environments.writeVolatile(body));
      });
    } catch {
      // The next look, or the next call, will tell.
    }
  }
}

/** Between two looks for dead readers and dead processes. */
const UPKEEP_MS = 30_000;

/** Specs remembered at once; beyond it all are read again. */
const SPECS_MAX = 20_000;

/** Looks without the gate, before a read goes through it. */
const READ_TRIES = 5;

/** Jobs one process may announce to wait for; of others it hears late. */
const AWAITED_MAX = 10_000;

const CHANGES = Buffer.from("changes");
const STATE = Buffer.from("state");

function hasFollow({ drops, again, freed, gone, asks }: Follow): boolean {
  return drops.size > 0 || again.length > 0 || freed.length > 0 || gone.length > 0 || asks.length > 0;
}

function readState({ durable }: Environments): {
  readonly state: DurableState;
  readonly marks: { readonly lanes: number; readonly policies: number; readonly pauses: number };
} {
  const text = durable.meta.get(STATE) ?? "[0,0,0,0,0,0]";
  // The first format ends before the schedules.
  const [seq, changes, numbers, lanes, policies, pauses, schedules = 0] = JSON.parse(text) as [
    ...FixedLength<number, 6>,
    number?,
  ];
  return { state: { seq, changes, numbers, schedules }, marks: { lanes, policies, pauses } };
}

/** Written only when it changed: a transaction without a put costs no sync. */
function writeState(tables: DurableTables, state: DurableState, lanes: Lanes): void {
  const { seq, changes, numbers, schedules } = state;
  const { lanes: lane, policies, pauses } = lanes.marks;
  const text = `[${seq},${changes},${numbers},${lane},${policies},${pauses},${schedules}]`;
  if (tables.meta.get(STATE) !== text) tables.meta.put(STATE, text);
}

/** Whether a line was given out farther than places exist. */
function isAhead({ volatile }: Environments, { seq }: DurableState): boolean {
  return volatile.line
    .rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)
    .some(({ value }) => (JSON.parse(value) as number[]).slice(1).some((n, i) => i % 3 === 2 && n > seq));
}
