import type { MessagePort } from "node:worker_threads";
import { monotonicMs } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { Access } from "../server/access.ts";
import { Counters } from "../server/counters.ts";
import { Session } from "../server/session.ts";
import type { Storage } from "../storage/storage.ts";
import { portChannel } from "../wire/port-channel.ts";

/**
 * After three of these in silence a session ends; its thread makes another when it turns again. Its end is known
 * otherwise, so this only bounds what is kept for one that stands still.
 */
const HEARTBEAT_MS = 60_000;
const TICK_MS = 1_000;

/** Offers a storage of this thread to threads that cannot open it: a job server without a network. */
export class ThreadHost {
  readonly #storage: Storage;
  readonly #logger: Logger;
  readonly #access = new Access([], true);
  readonly #counters = new Counters();
  readonly #sessions = new Set<Session>();
  readonly #ticker: NodeJS.Timeout;

  constructor(storage: Storage, logger: Logger) {
    this.#storage = storage;
    this.#logger = logger;
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#ticker.unref();
  }

  accept(port: MessagePort, peer: string): void {
    const session = new Session(portChannel(port), { proven: true }, peer, {
      storage: this.#storage,
      access: this.#access,
      counters: this.#counters,
      logger: this.#logger,
      server: "jobwright",
      heartbeatMs: HEARTBEAT_MS,
      // Our own threads: the storage is the limit.
      callsPerSecond: Number.MAX_SAFE_INTEGER,
      ended: (ended) => void this.#sessions.delete(ended),
    });
    this.#sessions.add(session);
  }

  close(): void {
    clearInterval(this.#ticker);
    for (const session of [...this.#sessions]) session.destroy();
  }

  #tick(): void {
    const now = monotonicMs();
    for (const session of [...this.#sessions]) session.tick(now);
  }
}
