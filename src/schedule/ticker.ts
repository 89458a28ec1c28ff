import type { Logger } from "../logger.ts";
import { limits } from "../job/limits.ts";
import type { ScheduleWrite, ScheduleWriteResult, Storage, StoredSchedule } from "../storage/storage.ts";
import { readEntry } from "./entry.ts";
import { fire } from "./fire.ts";

/** Schedules fired in one write. */
const STEP = 100;
/** Rounds in which all that was due turned out to be others' before the next look waits. */
const LOST_ROUNDS = 3;
const AGAIN_MS = 1_000;
/** Writes that wait for somebody at a time: each may hold a connection. */
const HELD_UP_MAX = 2;

/**
 * Fires what is due. Every process does: who writes a schedule first has fired it, and the others see that they
 * were late. So nobody leads, and as long as one process is there, no tick is missed.
 */
export class Ticker {
  readonly #storage: Storage;
  readonly #logger: Logger;
  /** Those that this code cannot fire: told once each. */
  readonly #unreadable = new Set<string>();
  /** Those whose write is under way, and waits for somebody. */
  readonly #heldUp = new Set<string>();

  constructor(storage: Storage, logger: Logger) {
    this.#storage = storage;
    this.#logger = logger;
  }

  /** Fire all that is due. Answers how many jobs that made, and when the next one is due. */
  async tick(): Promise<{ readonly made: number; readonly nextAt: number | undefined }> {
    let made = 0;
    let step = STEP;
    for (let lost = 0; ;) {
      const { now, due, nextAt } = await this.#storage.dueSchedules(step);
      const writes = due.flatMap((stored) => this.#write(stored, now) ?? []);
      if (writes.length === 0 && due.length === step && step < limits.schedules) {
        // Those that this code cannot fire must not hide the ones behind them.
        step = Math.min(8 * step, limits.schedules);
        continue;
      }
      // Nothing that this code could fire: not to be asked again at once for what is in the past.
      if (writes.length === 0) return { made, nextAt: due.length === 0 ? nextAt : now + AGAIN_MS };
      let won = 0;
      const count = (results: readonly ScheduleWriteResult[]): void => {
        for (const result of results) {
          if (!result.ok) continue;
          won += 1;
          made += result.jobs.filter(({ status }) => status === "created").length;
        }
      };
      for (const some of bySize(writes.filter((write) => !hasUniqueKey(write)))) {
        count(await this.#storage.writeSchedules(some));
      }
      for (const write of writes.filter(hasUniqueKey)) count(await this.#writeKeyed(write));
      if (won === 0 && ++lost >= LOST_ROUNDS) return { made, nextAt: now + AGAIN_MS };
    }
  }

  /**
   * On PostgreSQL a job may have to wait for a transaction of somebody who holds its unique key. Its schedule waits
   * with it, beside the others, and beside all else that is due.
   */
  async #writeKeyed(write: ScheduleWrite): Promise<ScheduleWriteResult[]> {
    if (this.#heldUp.size >= HELD_UP_MAX) return [];
    const written = this.#storage.writeSchedules([write]);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, AGAIN_MS, undefined)));
    const results = await Promise.race([written, patience]).finally(() => clearTimeout(timer));
    if (results !== undefined) return results;
    const { key } = write;
    this.#heldUp.add(key);
    written
      .catch((error: unknown) =>
        this.#logger.warn(`the schedule "${key}" could not be fired: ${String(error)}; next try soon`, {
          key,
        }),
      )
      .finally(() => this.#heldUp.delete(key));
    return [];
  }

  /** `undefined`: this code cannot fire it, which must not keep it from firing the others. */
  #write(stored: StoredSchedule, now: number): ScheduleWrite | undefined {
    if (this.#heldUp.has(stored.key)) return undefined;
    const entry = readEntry(stored.text);
    if (entry === undefined) return this.#tell(stored.key, "was written by newer code");
    try {
      return fire({ ...stored, nextAt: stored.nextAt as number }, entry, now);
    } catch (error) {
      return this.#tell(stored.key, `cannot be read here (${(error as Error).message})`);
    }
  }

  #tell(key: string, why: string): undefined {
    if (this.#unreadable.has(key)) return undefined;
    this.#unreadable.add(key);
    this.#logger.warn(`the schedule "${key}" ${why}, so this process does not fire it`, { key });
    return undefined;
  }
}

function hasUniqueKey({ jobs = [] }: ScheduleWrite): boolean {
  return jobs.some(({ unique }) => unique !== undefined);
}

/** As many in one call as its text allows; a single one that is larger goes alone. */
function bySize(writes: readonly ScheduleWrite[]): ScheduleWrite[][] {
  const calls: ScheduleWrite[][] = [];
  let text = Number.POSITIVE_INFINITY;
  for (const write of writes) {
    let own = write.row?.text.length ?? 0;
    for (const { payload } of write.jobs ?? []) own += payload.length;
    if (text + own > limits.enqueueBytes) {
      calls.push([]);
      text = 0;
    }
    calls.at(-1)?.push(write);
    text += own;
  }
  return calls;
}
