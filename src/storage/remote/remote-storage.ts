import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import type { Clock } from "../../clock.ts";
import { InvalidOptionError, StorageClosedError } from "../../errors.ts";
import type { AttemptEntry, JobId } from "../../job/job.ts";
import type { Change, ChangeResult } from "../../job/change.ts";
import { checkKnown } from "../../known-options.ts";
import { lineLogger, type Logger, safeLogger } from "../../logger.ts";
import { wireLimits } from "../../wire/limits.ts";
import type { MethodName } from "../../wire/methods.ts";
import type {
  BeatResult,
  ClaimRequest,
  ClaimResult,
  CountQuery,
  DueSchedules,
  GroupResult,
  Interest,
  JobDefaults,
  KeyPage,
  KeyQuery,
  LaneInfo,
  LaneSettings,
  LaneTarget,
  Lease,
  ListQuery,
  LogEntry,
  NewJob,
  Note,
  ProcessBeat,
  ProcessInfo,
  Promoted,
  RescuedJob,
  RescueRequest,
  ScheduleWrite,
  ScheduleWriteResult,
  Settlement,
  SettleResult,
  Stats,
  Storage,
  StoredJob,
  StoredSchedule,
  Unwatch,
} from "../storage.ts";
import { Connection } from "./connection.ts";
import type { Dial } from "./dial.ts";
import { dialWs, type RemoteTls } from "./dial-ws.ts";
import { dialZmq } from "./dial-zmq.ts";
import { RemoteClock } from "./remote-clock.ts";
import { slices, textOfGroup, textOfSettlement, textOfWrite } from "./slices.ts";

/** How a remote storage is made. */
export interface RemoteStorageOptions {
  /**
   * Of a job server: `ws://host:port`, `wss://host:port` or `zmq://host:port`; a token may stand in it:
   * `wss://:TOKEN@host`.
   */
  readonly url: string;
  /** What the server wants to know, when it is not in the URL. */
  readonly token?: string;
  /** Certificates, for `wss:`. */
  readonly tls?: RemoteTls;
  /** The server's public key, for `zmq:`: who has its secret half is the server. @default `?serverKey=` of the URL */
  readonly serverKey?: string;
  /** This client's secret key, whose public half the server lists. @default `?secretKey=` of the URL */
  readonly secretKey?: string;
  /** Longest time a look or an operator's change may take, in ms. @default 30_000 */
  readonly deadlineMs?: number;
  /** @default warnings and errors as lines on standard error */
  readonly logger?: Logger;
  /** The clock of the server's storage, for tests that hold both in one process. @default as the server tells it */
  readonly clock?: Clock;
  /** @internal Another way to the server than by its URL. */
  readonly dial?: Dial;
}

const KNOWN: readonly (keyof RemoteStorageOptions)[] = [
  "url",
  "token",
  "tls",
  "serverKey",
  "secretKey",
  "deadlineMs",
  "logger",
  "clock",
];
const DEADLINE_MS = 30_000;
/** For everything that spawners and workers do all the time. */
const PROMPT_MS = 10_000;
/** Longest time between two looks whether the server is still there. */
const HEARTBEAT_MS = 5_000;

/**
 * A storage that a job server offers. What is acknowledged is as durable as the server's storage makes it; the
 * connection is made again by itself, and calls that were cut off are made again where that has no second effect.
 */
export class RemoteStorage implements Storage {
  readonly label: string;
  readonly clock: Clock;
  readonly #connection: Connection;
  readonly #dial: Dial;
  readonly #deadlineMs: number;
  readonly #promptMs: number;
  /** Begins the batch ids of this client, so that a repeated enqueue is known for one. */
  readonly #batches = randomBytes(12).toString("base64url");
  #batch = 0;
  #opened: Promise<void> | undefined;
  #isClosed = false;

  /** @throws InvalidOptionError */
  constructor(options: RemoteStorageOptions) {
    const { dial: given, ...known } = options ?? {};
    checkKnown("RemoteStorage option", known, KNOWN);
    const { url, token, deadlineMs = DEADLINE_MS, clock } = options;
    if (typeof url !== "string") throw new InvalidOptionError("url", typeof url, "Use ws://host:port.");
    if (token !== undefined && (typeof token !== "string" || !/^[\u0021-\u007e]{1,1000}$/.test(token))) {
      throw new InvalidOptionError(
        "token",
        "a value of another form",
        "Use the text that the server was started with.",
      );
    }
    if (!Number.isFinite(deadlineMs) || deadlineMs < 1) {
      throw new InvalidOptionError("deadlineMs", deadlineMs, "Use milliseconds, at least 1.");
    }
    this.#deadlineMs = deadlineMs;
    this.#promptMs = Math.min(deadlineMs, PROMPT_MS);
    const dial = given ?? dialOf(url, options);
    this.#dial = dial;
    this.label = dial.label;
    const serverClock = new RemoteClock();
    this.clock = clock ?? serverClock;
    this.#connection = new Connection({
      dial,
      clock: serverClock,
      logger: safeLogger(options.logger ?? lineLogger()),
      client: clientName(),
      heartbeatMs: HEARTBEAT_MS,
    });
  }

  async open(): Promise<void> {
    this.#checkOpen();
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    await this.#opened;
  }

  async #open(): Promise<void> {
    await this.#dial.prepare?.();
    this.#checkOpen();
    await this.#connection.open(this.#deadlineMs);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#connection.close();
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  async enqueue(groups: readonly (readonly NewJob[])[], batchId?: string): Promise<GroupResult[]> {
    this.#batch += 1;
    // A name of its own is what lets a call be repeated after its answer was lost.
    const id = batchId ?? `${this.#batches}-${this.#batch}`;
    const parts = slices(groups, textOfGroup);
    if (parts.length === 1) return this.#prompt("enqueue", [groups, id]);
    const results: GroupResult[] = [];
    for (const [index, part] of parts.entries()) {
      results.push(...(await this.#prompt<GroupResult[]>("enqueue", [part, `${id}/${index}`])));
    }
    return results;
  }

  // ── Through ────────────────────────────────────────────────────────────────

  claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.#prompt("claim", [request]);
  }

  async settle(settlements: readonly Settlement[]): Promise<SettleResult[]> {
    const results: SettleResult[] = [];
    for (const part of slices(settlements, textOfSettlement)) {
      results.push(...(await this.#prompt<SettleResult[]>("settle", [part])));
    }
    return results;
  }

  async exchange(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: SettleResult[]; claimed: ClaimResult }> {
    const parts = slices(settlements, textOfSettlement);
    const last = parts.pop() ?? [];
    const before: SettleResult[] = [];
    for (const part of parts) before.push(...(await this.#prompt<SettleResult[]>("settle", [part])));
    const { settled, claimed } = await this.#prompt<{ settled: SettleResult[]; claimed: ClaimResult }>(
      "exchange",
      [last, request],
    );
    return { settled: [...before, ...settled], claimed };
  }

  note(lease: Lease, note: Note): Promise<"saved" | "stale"> {
    return this.#prompt("note", [lease, note]);
  }

  beat(beat: ProcessBeat): Promise<BeatResult> {
    return this.#prompt("beat", [beat]);
  }

  watch(interest: Interest, wake: () => void): Unwatch {
    this.#checkOpen();
    return this.#connection.watch(interest, wake);
  }

  // ── Upkeep ─────────────────────────────────────────────────────────────────

  promote(limit: number): Promise<Promoted> {
    return this.#prompt("promote", [limit]);
  }

  dueSchedules(limit: number): Promise<DueSchedules> {
    return this.#prompt("dueSchedules", [limit]);
  }

  async writeSchedules(writes: readonly ScheduleWrite[]): Promise<ScheduleWriteResult[]> {
    const results: ScheduleWriteResult[] = [];
    // Each write stands for itself, so that those before one that fails may count.
    for (const part of slices(writes, textOfWrite)) {
      results.push(...(await this.#prompt<ScheduleWriteResult[]>("writeSchedules", [part])));
    }
    return results;
  }

  rescue(request: RescueRequest): Promise<RescuedJob[]> {
    return this.#prompt("rescue", [request]);
  }

  prune(limit: number): Promise<number> {
    return this.#call("prune", [limit]);
  }

  // ── Look ───────────────────────────────────────────────────────────────────

  async get(ids: readonly JobId[]): Promise<(StoredJob | undefined)[]> {
    const parts: Promise<(StoredJob | undefined)[]>[] = [];
    for (let at = 0; at === 0 || at < ids.length; at += wireLimits.looked) {
      parts.push(this.#call("get", [ids.slice(at, at + wireLimits.looked)]));
    }
    return (await Promise.all(parts)).flat();
  }

  list(query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }> {
    return this.#call("list", [query]);
  }

  count(query: CountQuery): Promise<{ n: number; exact: boolean }> {
    return this.#call("count", [query]);
  }

  attempts(id: JobId): Promise<AttemptEntry[]> {
    return this.#call("attempts", [id]);
  }

  logs(id: JobId): Promise<LogEntry[]> {
    return this.#call("logs", [id]);
  }

  schedules(): Promise<StoredSchedule[]> {
    return this.#call("schedules", []);
  }

  keys(query: KeyQuery): Promise<KeyPage> {
    return this.#call("keys", [query]);
  }

  stats(query: { readonly queue?: string; readonly name?: string }): Promise<Stats> {
    return this.#call("stats", [query]);
  }

  lanes(): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }> {
    return this.#call("lanes", []);
  }

  processes(): Promise<ProcessInfo[]> {
    return this.#call("processes", []);
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  change(ids: readonly JobId[], change: Change): Promise<ChangeResult[]> {
    return this.#call("change", [ids, change]);
  }

  define(definitions: readonly JobDefaults[]): Promise<void> {
    return this.#call("define", [definitions]);
  }

  configure(target: LaneTarget, settings: LaneSettings): Promise<void> {
    return this.#call("configure", [target, settings]);
  }

  // ── ────────────────────────────────────────────────────────────────────────

  #prompt<T>(method: MethodName, args: readonly unknown[]): Promise<T> {
    return this.#call(method, args, this.#promptMs);
  }

  async #call<T>(
    method: MethodName,
    args: readonly unknown[],
    deadlineMs: number = this.#deadlineMs,
  ): Promise<T> {
    this.#checkOpen();
    return (await this.#connection.call(method, args, deadlineMs)) as T;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new StorageClosedError(`The storage "${this.label}"`);
  }
}

function dialOf(url: string, options: RemoteStorageOptions): Dial {
  if (url.startsWith("zmq:")) return dialZmq(url, options);
  for (const option of ["serverKey", "secretKey"] as const) {
    if (options[option] !== undefined) {
      throw new InvalidOptionError(option, "a key", 'It goes with a URL that begins with "zmq:".');
    }
  }
  return dialWs(url, { token: options.token, tls: options.tls });
}

function clientName(): string {
  const { version } = createRequire(import.meta.url)("../../../package.json") as { version: string };
  return `jobwright ${version}`;
}
