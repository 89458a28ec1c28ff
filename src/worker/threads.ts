import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Piscina } from "piscina";
import { InvalidOptionError } from "../errors.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import type { ThreadTask } from "./thread/messages.ts";

/** A thread with nothing to do ends after this time. */
const IDLE_MS = 30_000;
/** A thread that does not take its run within this time is busy with what an earlier run left behind. */
const BEGIN_MS = 5_000;
/** Heap of a thread where its definition says nothing, in MiB. */
export const THREAD_MEMORY_MB = 512;

/** The threads of a worker. Made with the first run that needs one, so that others pay nothing for them. */
export class Threads {
  readonly #most: number;
  readonly #beginMs: number;
  /** By the memory of their threads, which a thread has for life. */
  readonly #pools = new Map<number, Promise<Piscina>>();
  /** Runs that no thread has taken yet. */
  readonly #starting = new Set<AbortController>();
  #isClosed = false;

  constructor(most: number, beginMs: number = BEGIN_MS) {
    this.#most = most;
    this.#beginMs = beginMs;
  }

  /**
   * Run a task in a thread. Rejects when the thread dies, or `kill` fires, which ends the thread.
   *
   * @param make called for each try: the port of a task is gone with the thread that got it
   */
  async run(make: (begun: () => void) => ThreadTask, memoryMb: number, kill: AbortSignal): Promise<RunEnd> {
    try {
      return await this.#try(make, memoryMb, kill, this.#beginMs);
    } catch (error) {
      if (!(error instanceof NotBegun)) throw error;
      // The thread was none, or another run's. A new one has all the time it needs.
      return this.#try(make, memoryMb, kill, undefined);
    }
  }

  async #try(
    make: (begun: () => void) => ThreadTask,
    memoryMb: number,
    kill: AbortSignal,
    beginMs: number | undefined,
  ): Promise<RunEnd> {
    const pool = await this.#pool(memoryMb);
    if (kill.aborted) throw kill.reason;
    const stillborn = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const begun = (): void => {
      clearTimeout(timer);
      this.#starting.delete(stillborn);
    };
    if (beginMs !== undefined) {
      // When this thread stood still itself, the word that the run has begun is there and only not heard yet.
      const late = (): void => void (this.#starting.has(stillborn) && stillborn.abort(new NotBegun()));
      timer = setTimeout(() => setImmediate(late), beginMs).unref();
    }
    this.#starting.add(stillborn);
    try {
      const task = make(begun);
      const options = {
        signal: AbortSignal.any([kill, stillborn.signal]),
        transferList: [task.port],
      };
      return (await pool.run(task, options as object)) as RunEnd;
    } catch (error) {
      if (!stillborn.signal.aborted || kill.aborted) throw error;
      const reason: unknown = stillborn.signal.reason;
      throw beginMs === undefined || reason instanceof NotBegun
        ? reason
        : new NotBegun("", { cause: reason });
    } finally {
      begun();
    }
  }

  /** Ends all threads. Twice is fine. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.allSettled(pools.map(async (pool) => (await pool).destroy()));
  }

  #pool(memoryMb: number): Promise<Piscina> {
    let pool = this.#pools.get(memoryMb);
    if (pool === undefined) {
      pool = this.#makePool(memoryMb);
      this.#pools.set(memoryMb, pool);
      // What failed once may work the next time.
      pool.catch(() => this.#pools.delete(memoryMb));
    }
    return pool;
  }

  async #makePool(memoryMb: number): Promise<Piscina> {
    const { Piscina } = await import("piscina");
    const pool = new Piscina({
      filename: ENTRY,
      name: "runHandler",
      minThreads: 0,
      maxThreads: this.#most,
      idleTimeout: IDLE_MS,
      recordTiming: false,
      // An idle thread lives on: what an earlier run left behind ends or fails there, and not in the next one.
      atomics: "disabled",
      resourceLimits: { maxOldGenerationSizeMb: memoryMb },
      ...(isSource ? { execArgv: [...process.execArgv, "--import", RUN_TYPESCRIPT] } : {}),
    });
    // A thread died that ran nothing. When it was still starting, the pool would let the run it was meant for
    // wait for ever.
    pool.on("error", (error: unknown) => {
      for (const one of this.#starting) one.abort(error);
    });
    if (this.#isClosed) await pool.destroy();
    return pool;
  }
}

/** No thread has taken a run, so another may. */
class NotBegun extends Error {}

/** By the URL of a definition: the disk is asked once. */
const modules = new WeakMap<URL, string>();

/**
 * The module of a definition's `thread`, as it is on disk: a URL that says `.js` finds the `.ts` it is going to be
 * made from, and the other way round.
 *
 * @throws InvalidOptionError when there is neither
 */
export function threadModule(url: URL): string {
  const known = modules.get(url);
  if (known !== undefined) return known;
  const { href } = url;
  const isThere = (one: string): boolean => existsSync(fileURLToPath(one));
  const other = /\.([cm]?)js$/.test(href)
    ? href.replace(/\.([cm]?)js$/, ".$1ts")
    : href.replace(/\.([cm]?)ts$/, ".$1js");
  const found = [href, other].find(isThere);
  if (found !== undefined) {
    modules.set(url, found);
    return found;
  }
  throw new InvalidOptionError(
    "thread",
    href,
    'There is no such file. Use new URL("./handler.js", import.meta.url), next to the module that says it.',
  );
}

/** Whether this runs from its TypeScript sources on a Node that does not take them: then its threads do, too. */
const isSource: boolean = import.meta.url.endsWith(".ts") && !("typescript" in process.features);

const ENTRY: string = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./thread/entry.ts" : "./thread/entry.js", import.meta.url),
);

/** Teaches a thread to require TypeScript. */
const RUN_TYPESCRIPT: string = `data:text/javascript,${encodeURIComponent(`
import { createRequire } from "node:module";
const here = ${JSON.stringify(import.meta.url)};
const jiti = createRequire(here)("jiti").createJiti(here);
createRequire(here).extensions[".ts"] = (module, path) => (module.exports = jiti(path));
`)}`;
