import type { Logger } from "../logger.ts";
import type { Storage } from "../storage/storage.ts";
import type { ScheduleDeclaration } from "./declaration.ts";
import { entryText, readEntry, type ScheduleEntry } from "./entry.ts";
import { change, seenSchedules } from "./save.ts";
import type { Schedules } from "./schedules.ts";

/** How long a schedule that nobody declares any more is kept, so that it goes on as it was when somebody does again. */
const ORPHAN_KEPT_MS = 86_400_000;

/**
 * The schedules that a worker's code declares. They are stored when it starts. One that an earlier version declared
 * and no living process declares any more rests at once, and is forgotten after a day. So two versions of the code
 * beside each other do not take away each other's, and a process that is away for a while finds its own as they were.
 */
export class DeclaredSchedules {
  readonly keys: readonly string[];
  readonly #declarations: readonly ScheduleDeclaration[];
  /** Job names that this code knows: schedules of others are none of its business. */
  readonly #names: ReadonlySet<string>;
  readonly #storage: Storage;
  readonly #schedules: Schedules;
  readonly #logger: Logger;

  constructor(
    declarations: readonly ScheduleDeclaration[],
    names: Iterable<string>,
    deps: { readonly storage: Storage; readonly schedules: Schedules; readonly logger: Logger },
  ) {
    this.#declarations = declarations;
    this.keys = declarations.map(({ key }) => key);
    this.#names = new Set([...names, ...declarations.map(({ definition }) => definition.name)]);
    this.#storage = deps.storage;
    this.#schedules = deps.schedules;
    this.#logger = deps.logger;
  }

  /** Store what is declared. Call it when the process is registered, and so known to declare it. */
  async store(): Promise<void> {
    const seen = await seenSchedules(this.#storage);
    for (const declaration of this.#declarations) {
      const { key } = declaration;
      const stored = seen.byKey.get(key);
      if (stored === undefined || readEntry(stored.text) !== undefined) {
        await this.#schedules.save(declaration, true, seen);
        continue;
      }
      // Older code must be able to start beside newer code, and when it comes back in its place.
      this.#logger.warn(`the schedule "${key}" was written by newer code, so it stays as it is`, { key });
    }
    await this.check();
  }

  /** Again and again: wake what others let rest by mistake, and let rest what nobody declares any more. */
  async check(): Promise<void> {
    const stored = await this.#storage.schedules();
    const own = new Map(this.#declarations.map((one) => [one.key, one]));
    const others: string[] = [];
    for (const one of stored) {
      const entry = readEntry(one.text);
      const declaration = own.get(one.key);
      if (declaration !== undefined && entry?.orphan !== undefined)
        await this.#schedules.save(declaration, true);
      if (declaration !== undefined || entry?.declared !== true || !this.#names.has(entry.job.name)) continue;
      others.push(one.key);
    }
    if (others.length === 0) return;
    const living = (await this.#storage.processes()).filter(({ lost }) => !lost);
    const declared = new Set(living.flatMap(({ declares }) => declares ?? []));
    const { now } = await this.#storage.dueSchedules(1);
    for (const key of others) if (!declared.has(key)) await this.#letRest(key, now);
  }

  async #letRest(key: string, now: number): Promise<void> {
    const { answer } = await change(this.#storage, key, (stored) => {
      const entry = stored === undefined ? undefined : readEntry(stored.text);
      if (stored === undefined || entry?.declared !== true) return { answer: false };
      if (entry.orphan !== undefined) {
        const isOver = now - entry.orphan.since > ORPHAN_KEPT_MS;
        return { ...(isOver ? { write: {} } : {}), answer: false };
      }
      const resting: ScheduleEntry = { ...entry, orphan: { since: now, nextAt: stored.nextAt } };
      return { write: { row: { text: entryText(key, resting), nextAt: null } }, answer: true };
    });
    if (answer) {
      this.#logger.info(`the schedule "${key}" is declared by no living process any more, so it rests`, {
        key,
      });
    }
  }
}
