import { availableParallelism } from "node:os";
import type { ConnectOptions } from "../connect.ts";
import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import { defineJob } from "../job/definition.ts";
import { checkDefaults } from "../job/options.ts";
import { checkKnown } from "../known-options.ts";
import { lineLogger, type Logger, safeLogger } from "../logger.ts";
import type { Storage } from "../storage/storage.ts";
import { planWorker, type WorkerSettings } from "../worker/options.ts";
import { moduleUrls } from "./load-modules.ts";
import type { RestartPolicy } from "./restart.ts";

/** Options of `connect` that every child gets. Those that hold functions stay in one process. */
export type SharedConnectOptions = Pick<ConnectOptions, "defaults" | "beatEvery" | "lostAfter">;

/** How a Supervisor is made; see docs/supervisor.md. */
export interface SupervisorOptions {
  /** Worker modules: paths or file URLs. What they export is said at {@link loadWorkerModules}. */
  readonly modules: string | URL | readonly (string | URL)[];
  /** Where the jobs are, as for `connect`. Either this or `storage`. */
  readonly url?: string;
  /** An open storage of yours, which threads share; it stays yours to close. */
  readonly storage?: Storage;
  /** How many processes run the modules: 1 to 256. @default one for each core, unless `threads` is given */
  readonly processes?: number;
  /** How many threads of this process run the modules instead: 1 to 256. */
  readonly threads?: number;
  /** What each child connects with. */
  readonly connect?: SharedConnectOptions;
  /** What each child's worker is made with; goes before what a module exports as `worker`. */
  readonly worker?: WorkerSettings;
  /** How dead children are started again. */
  readonly restart?: {
    /** Wait after a first end; doubled with each further one, plus up to 20 %. @default "200ms" */
    readonly first?: Duration;
    /** Longest wait. A child that has worked for so long begins anew with `first`. @default "30s" */
    readonly max?: Duration;
  };
  /** A child whose event loop stands still for longer is reported as `blocked`. @default "10s" */
  readonly blockedAfter?: Duration;
  /** For the Supervisor's own lines; children log to standard error. @default warnings and errors as lines there */
  readonly logger?: Logger;
}

/** The options, checked, defaults filled in. */
export interface SupervisorPlan {
  readonly kind: "process" | "thread";
  readonly children: number;
  /** File URLs. */
  readonly modules: readonly string[];
  readonly target: string | Storage;
  readonly connect: SharedConnectOptions;
  readonly worker: WorkerSettings;
  readonly lostAfterMs: number;
  readonly shutdownTimeoutMs: number;
  readonly restart: RestartPolicy;
  readonly blockedAfterMs: number;
  readonly logger: Logger;
}

const KNOWN: readonly (keyof SupervisorOptions)[] = [
  "modules",
  "url",
  "storage",
  "processes",
  "threads",
  "connect",
  "worker",
  "restart",
  "blockedAfter",
  "logger",
];
const KNOWN_CONNECT: readonly (keyof SharedConnectOptions)[] = ["defaults", "beatEvery", "lostAfter"];
const CHILDREN_MAX = 256;

/** @throws InvalidOptionError */
export function planSupervisor(options: SupervisorOptions): SupervisorPlan {
  checkKnown("Supervisor option", options, KNOWN);
  const { processes, threads, connect = {}, worker = {}, restart = {} } = options;
  checkKnown("connect option", connect, KNOWN_CONNECT);
  checkKnown("restart option", restart, ["first", "max"]);
  if (processes !== undefined && threads !== undefined) {
    throw new InvalidOptionError("threads", threads, "Use either processes or threads.");
  }
  const kind = threads === undefined ? "process" : "thread";
  checkDefaults(connect.defaults ?? {});
  if (connect.beatEvery !== undefined) toMs(connect.beatEvery, "beatEvery", { min: 5 });
  const firstMs = toMs(restart.first ?? "200ms", "restart.first", { min: 1, max: 3_600_000 });
  return {
    kind,
    children: count(
      threads ?? processes ?? Math.min(CHILDREN_MAX, availableParallelism()),
      kind === "thread" ? "threads" : "processes",
    ),
    modules: moduleUrls(options.modules).map(({ href }) => href),
    target: targetOf(options, kind),
    connect,
    worker: checkWorker(worker),
    lostAfterMs: toMs(connect.lostAfter ?? "25s", "lostAfter", { min: 30, max: 86_400_000 }),
    shutdownTimeoutMs: toMs(worker.shutdownTimeout ?? "25s", "shutdownTimeout"),
    restart: {
      firstMs,
      maxMs: toMs(restart.max ?? Math.max(30_000, firstMs), "restart.max", { min: firstMs }),
    },
    blockedAfterMs: toMs(options.blockedAfter ?? "10s", "blockedAfter", { min: 100, max: 86_400_000 }),
    logger: safeLogger(options.logger ?? lineLogger()),
  };
}

function targetOf({ url, storage }: SupervisorOptions, kind: "process" | "thread"): string | Storage {
  if ((url === undefined) === (storage === undefined)) {
    throw new InvalidOptionError(
      "url",
      url === undefined ? url : "a URL beside a storage",
      "Give one of url and storage.",
    );
  }
  if (url !== undefined) {
    if (typeof url !== "string")
      throw new InvalidOptionError("url", typeof url, 'Use a URL like "lmdb:./jobs".');
    if (kind === "process" && url.startsWith("memory:")) {
      throw new InvalidOptionError(
        "url",
        url,
        "Each process would have jobs of its own. Use threads, or another storage.",
      );
    }
    return url;
  }
  if (typeof storage?.exchange !== "function") {
    throw new InvalidOptionError("storage", typeof storage, "Hand in a storage, or use url.");
  }
  if (kind === "process") {
    throw new InvalidOptionError(
      "storage",
      storage.label,
      "Processes open it themselves: give its URL, or use threads.",
    );
  }
  return storage;
}

/** As a worker in a child will check them, only sooner. */
function checkWorker(worker: WorkerSettings): WorkerSettings {
  if ("state" in worker) {
    throw new InvalidOptionError(
      "worker.state",
      worker.state,
      "A function does not reach other processes: export `worker = { state }` from the module.",
    );
  }
  planWorker([defineJob({ name: "any", run: () => undefined })], worker);
  return worker;
}

function count(value: unknown, option: string): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= CHILDREN_MAX)
    return value as number;
  throw new InvalidOptionError(option, value, `Use an integer from 1 to ${CHILDREN_MAX}.`);
}
