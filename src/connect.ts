import { type Clock, systemClock } from "./clock.ts";
import { type Duration, toMs } from "./duration.ts";
import { InvalidOptionError, MissingDependencyError } from "./errors.ts";
import type { JobOptions } from "./job/definition.ts";
import { checkMiddleware } from "./job/option-checks.ts";
import { checkKnown } from "./known-options.ts";
import { Jobs } from "./jobs.ts";
import { lineLogger, type Logger, safeLogger } from "./logger.ts";
import type { Middleware } from "./middleware.ts";
import { harmless, isObserver, type Observer, type Surroundings } from "./observer.ts";
import type { Storage } from "./storage/storage.ts";

/** How `Jobs` behave; see docs/options.md. */
export interface ConnectOptions {
  /** Options for jobs whose call and definition do not say otherwise. */
  readonly defaults?: JobOptions;
  /** The time that scheduling follows; a storage handed in brings its own. @default the machine's */
  readonly clock?: Clock;
  /** Anything shaped like `console`. @default warnings and errors as lines on standard error */
  readonly logger?: Logger;
  /** How often a worker shows that it lives. @default "5s" */
  readonly beatEvery?: Duration;
  /**
   * Silence after which a process counts as lost and its jobs are rescued by others. Beats go on while
   * handlers run, so it bounds recovery time, not job length. At least three beats.
   *
   * @default "25s"
   */
  readonly lostAfter?: Duration;
  /** Random numbers for jitter, uniform in [0, 1). @default Math.random */
  readonly random?: () => number;
  /** What stands around enqueues and runs, the first one outermost; see docs/middleware.md. @default [] */
  readonly middleware?: readonly (Middleware | Observer)[];
  /** `false`: what handlers log goes to the logger alone, and is not kept with their jobs. @default true */
  readonly keepLogs?: boolean;
  /**
   * `false`: no spans, metrics and traces, also where OpenTelemetry is set up before this call. With a `telemetry()`
   * in `middleware` there is only that. See docs/telemetry.md. @default true
   */
  readonly telemetry?: boolean;
}

const KNOWN = [
  "defaults",
  "clock",
  "logger",
  "beatEvery",
  "lostAfter",
  "random",
  "middleware",
  "keepLogs",
  "telemetry",
];

let defaultClock: Clock = systemClock;

/** The clock of every later `connect(url)` that names none. For tests of code that connects by itself. */
export function setDefaultClock(clock: Clock): void {
  defaultClock = clock;
}

/**
 * Open a storage and answer the `Jobs` on it.
 *
 * @param target `memory:`, `lmdb:./folder`, `postgres://…` (with `?schema=name` for another schema), `ws://`, `wss://:token@host:port`
 * or `zmq://host:port` of a job server, or a storage you made
 * @throws InvalidOptionError for an unknown scheme or bad options, and what the storage's `open` throws
 *
 * @example
 * const jobs = await connect("lmdb:./jobs");
 */
export async function connect(target: string | Storage, options: ConnectOptions = {}): Promise<Jobs> {
  checkKnown("connect option", options, KNOWN);
  const lostAfterMs = toMs(options.lostAfter ?? "25s", "lostAfter", { min: 30, max: 86_400_000 });
  const beatEveryMs = toMs(options.beatEvery ?? Math.min(5_000, lostAfterMs / 5), "beatEvery", { min: 5 });
  if (lostAfterMs < 3 * beatEveryMs) {
    throw new InvalidOptionError(
      "lostAfter",
      options.lostAfter ?? "25s",
      `Use at least three times beatEvery (${beatEveryMs} ms): one late beat must not cost a process its jobs.`,
    );
  }
  // One for jobs and storage: it bounds the lines of a second.
  const logger = safeLogger(options.logger ?? lineLogger());
  const around = await surroundings(options, logger);
  let storage =
    typeof target === "string"
      ? await storageFor(target, { clock: options.clock ?? defaultClock, logger })
      : target;
  if (typeof target !== "string") {
    if (typeof target?.exchange !== "function") {
      throw new InvalidOptionError(
        "connect",
        target,
        'Use a URL like "lmdb:./jobs" or "memory:", or a storage.',
      );
    }
    if (options.clock !== undefined && options.clock !== target.clock) {
      throw new InvalidOptionError(
        "clock",
        options.clock,
        "Give the clock to the storage: the two must agree.",
      );
    }
  }
  storage = around.observers.reduce((watched, observer) => observer.watching?.(watched) ?? watched, storage);
  const now = storage.clock.now();
  if (!Number.isFinite(now)) throw new InvalidOptionError("clock.now()", now, "Answer epoch milliseconds.");
  const jobs = new Jobs({
    storage,
    around,
    clock: storage.clock,
    logger,
    random: safeRandom(options.random),
    defaults: options.defaults ?? {},
    beatEveryMs,
    lostAfterMs,
  });
  await storage.open();
  return jobs;
}

async function surroundings(options: ConnectOptions, logger: Logger): Promise<Surroundings> {
  const { middleware = [], keepLogs = true, telemetry = true } = options;
  checkMiddleware(middleware, isObserver);
  for (const [option, value] of Object.entries({ keepLogs, telemetry })) {
    if (typeof value !== "boolean") throw new InvalidOptionError(option, value, "Use true or false.");
  }
  const observers: Observer[] = middleware.filter(isObserver);
  if (telemetry && observers.length === 0 && isTelemetrySetUp()) {
    const { telemetry: standard } = await import("./telemetry/index.ts");
    try {
      observers.push(standard());
    } catch (error) {
      // Nobody asked for it by name, so what is missing does not keep the jobs from running.
      logger.warn(`OpenTelemetry is set up, but jobs are not traced: ${(error as Error).message}`);
    }
  }
  return {
    middleware: middleware.filter((one): one is Middleware => !isObserver(one)),
    observers: observers.map((one) => harmless(one, logger)),
    keepsLogs: keepLogs,
  };
}

/** OpenTelemetry keeps what is registered under this symbol, whichever copy of its API did it. */
function isTelemetrySetUp(): boolean {
  const registered = (globalThis as Record<symbol, unknown>)[Symbol.for("opentelemetry.js.api.1")];
  const { trace, metrics } = (registered ?? {}) as { readonly trace?: unknown; readonly metrics?: unknown };
  return trace !== undefined || metrics !== undefined;
}

/** Jitter is not worth a job: numbers that are none are replaced. */
function safeRandom(random: (() => number) | undefined): () => number {
  if (random === undefined) return Math.random;
  if (typeof random !== "function") {
    throw new InvalidOptionError("random", random, "Use a function that answers numbers from 0 to 1.");
  }
  return () => {
    try {
      const number = random();
      return number >= 0 && number < 1 ? number : Math.random();
    } catch {
      return Math.random();
    }
  };
}

/** The storage that a URL means, not yet opened. @throws InvalidOptionError or MissingDependencyError */
export async function storageFor(
  url: string,
  { clock = systemClock, logger }: { readonly clock?: Clock; readonly logger: Logger },
): Promise<Storage> {
  const scheme = /^([a-z]+):/.exec(url)?.[1];
  switch (scheme) {
    case "memory": {
      if (!/^memory:(?:\/\/)?$/.test(url)) {
        throw new InvalidOptionError(
          "connect",
          url,
          'Use "memory:" alone: each connect has a storage of its own.',
        );
      }
      const { MemoryStorage } = await import("./storage/memory/index.ts");
      return new MemoryStorage({ clock });
    }
    case "lmdb": {
      const path = url.slice("lmdb:".length);
      // A shell would expand the one and a browser take the other for a URL; here both would be odd folders.
      if (/^~|^[a-z]+:/.test(path)) {
        throw new InvalidOptionError("connect", url, 'Name a folder by its plain path: "lmdb:./jobs".');
      }
      if (path === "") throw new InvalidOptionError("connect", url, 'Name a folder: "lmdb:./jobs".');
      const { LmdbStorage } = await needs(url, () => import("./storage/lmdb/index.ts"));
      return new LmdbStorage({ path, clock });
    }
    case "postgres":
    case "postgresql": {
      const { PostgresStorage } = await import("./storage/postgres/index.ts");
      return new PostgresStorage({
        ...schemaOf(url),
        ...(clock === systemClock ? {} : { clock }),
        logger,
      });
    }
    case "ws":
    case "wss":
    case "zmq": {
      if (clock !== systemClock) {
        throw new InvalidOptionError(
          "clock",
          clock,
          "The time of a job server is its own: give the clock to its storage.",
        );
      }
      const { RemoteStorage } = await import("./storage/remote/index.ts");
      return new RemoteStorage({ url, logger });
    }
    default:
      throw new InvalidOptionError(
        "connect",
        withoutSecrets(url),
        'Use "memory:", "lmdb:./folder", "postgres://user:password@host:5432/database", "ws://host:port" or "zmq://host:port".',
      );
  }
}

/** `?schema=name` is ours: PostgreSQL's clients do not know it. */
function schemaOf(url: string): { url: string; schema?: string } {
  const found = /[?&]schema=([^&]*)/.exec(url);
  if (found === null) return { url };
  const [parameter, value = ""] = found;
  const rest = url.replace(parameter, "");
  let schema: string;
  try {
    schema = decodeURIComponent(value.replaceAll("+", " "));
  } catch {
    throw new InvalidOptionError("schema", value, "Write special characters with encodeURIComponent().");
  }
  // The first parameter took the question mark with it.
  return { url: rest.includes("?") ? rest : rest.replace("&", "?"), schema };
}

/** An engine whose native packages may be missing: the error names the one that is. */
async function needs<T>(what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const { code, message = "" } = (error ?? {}) as { code?: unknown; message?: string };
    const missing = /Cannot find package '([^']+)'/.exec(message)?.[1];
    if (code !== "ERR_MODULE_NOT_FOUND" || missing === undefined) throw error;
    throw new MissingDependencyError(what, missing, error);
  }
}

/** Whatever stands behind the scheme may hold a password. */
function withoutSecrets(url: string): string {
  const scheme = /^[a-z+.-]{1,20}:/i.exec(url)?.[0];
  if (scheme !== undefined) return `${scheme}…`;
  return url.includes("@") ? "…" : url;
}
