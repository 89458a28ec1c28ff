import { randomUUID } from "node:crypto";
import type { JobId } from "../../job/job.ts";
import type { Store } from "./store.ts";

/** How long an entry holds when its process is gone without a word. */
const HOLD_MS = 600_000;
const RENEW_MS = 240_000;

/**
 * Tells the other processes which jobs this one waits for: they keep such a job for a moment even when its
 * retention is 0, and send word of its end.
 */
export class Awaiting {
  readonly #store: Store;
  readonly #wanted: () => ReadonlyMap<JobId, number>;
  readonly #instance = randomUUID();
  #told = new Set<JobId>();
  #renewAt = 0;
  #running: Promise<void> | undefined;
  #isDue = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(store: Store, wanted: () => ReadonlyMap<JobId, number>) {
    this.#store = store;
    this.#wanted = wanted;
  }

  /** What is awaited has changed. Changes of one turn of the event loop go together. */
  changed(): void {
    this.#isDue = true;
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  /** Once the others know; a failure is no matter, it is about hints and is made good later. */
  async known(): Promise<void> {
    await this.#running;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running;
    if (this.#told.size === 0) return;
    await this.#store.database
      .query(
        this.#store.statement("await_none", "delete from $s.awaited where instance = $1"),
        [this.#instance],
        {
          deadlineMs: 2_000,
        },
      )
      .catch(() => undefined);
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      while (this.#isDue) {
        this.#isDue = false;
        await this.#tell();
      }
    } catch {
      // The next change, or the timer, tells it all again.
      this.#told = new Set();
    } finally {
      this.#running = undefined;
    }
    if (this.#wanted().size === 0) return;
    this.#timer = setTimeout(() => this.changed(), RENEW_MS / 4);
    this.#timer.unref();
  }

  async #tell(): Promise<void> {
    const wanted = new Set(this.#wanted().keys());
    const isRenewal = performance.now() > this.#renewAt;
    const more = [...wanted].filter((id) => isRenewal || !this.#told.has(id));
    const less = [...this.#told].filter((id) => !wanted.has(id));
    if (more.length === 0 && less.length === 0) return;
    if (isRenewal) this.#renewAt = performance.now() + RENEW_MS;
    await this.#store.database.query(
      this.#store.statement(
        "await",
        `with gone as (
           delete from $s.awaited where instance = $1 and job = any ($3::text::bigint[])
         )
         insert into $s.awaited (job, instance, until_at)
         select id, $1, coalesce($4::text::float8, (extract(epoch from clock_timestamp()) * 1000)::float8) + ${HOLD_MS}
         from unnest($2::text::bigint[]) as u (id) order by id
         on conflict (job, instance) do update set until_at = excluded.until_at`,
      ),
      [this.#instance, `{${more.join()}}`, `{${less.join()}}`, this.#store.alive()],
    );
    this.#told = wanted;
  }
}
