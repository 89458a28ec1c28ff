import { hostname } from "node:os";
import { StorageClosedError } from "../errors.ts";
import type { Ask, Lease, ProcessBeat, ServedQueue, Storage } from "../storage/storage.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { Trouble } from "./trouble.ts";

export interface MembershipDeps {
  readonly storage: Storage;
  readonly trouble: Trouble;
  readonly name: string | undefined;
  readonly beatEveryMs: number;
  readonly lostAfterMs: number;
  /** Keys of the schedules that the code of this worker declares. */
  readonly declares: readonly string[];
  served(): ServedQueue[];
  held(): { holds: Lease[]; starts: Lease[] };
  reported(starts: readonly Lease[]): void;
  asks(asks: readonly Ask[]): void;
  lost(leases: readonly Lease[]): void;
  registered(processId: string): void;
  /** The process is no longer believed in; answers whether it should come back under a new id. */
  fenced(processId: string): boolean;
  /** What has ended is told, or it has taken too long: a new id may be taken. */
  toldAll(): Promise<unknown>;
  /** Registered again. */
  rejoined(): void;
  /** Whether the worker still wants to be a member. */
  goesOn(): boolean;
}

/** This worker as a process of the fleet: its id, its heartbeat, and what happens when nobody believes in it. */
export class Membership {
  readonly #deps: MembershipDeps;
  #processId = "";
  #tokens = 0;
  #heartbeat: Heartbeat | undefined;
  #isFenced = false;
  /** Under way: registering anew. A stop waits for it. */
  rejoining: Promise<void> | undefined;

  constructor(deps: MembershipDeps) {
    this.#deps = deps;
  }

  /** A new one each time it registers: nothing that is meant for an earlier one can reach it. */
  get processId(): string {
    return this.#processId;
  }

  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** Whether the leases can be relied on at this moment. */
  get isSafe(): boolean {
    return !this.#isFenced && (this.#heartbeat?.isSafe ?? false);
  }

  nextToken(): string {
    return `${this.#processId}.${(this.#tokens += 1)}`;
  }

  /** @param first what has to be done before anything else; when it fails, this process was never a member */
  async join(first: () => Promise<void> | undefined): Promise<void> {
    this.#processId = freshProcessId();
    await this.#register();
    try {
      await first();
    } catch (error) {
      // The start is tried again as another process: this one must not go on beating.
      await this.leave().catch(() => undefined);
      throw error;
    }
  }

  /** What it serves has changed: let others know. */
  tellSoon(): void {
    this.#heartbeat?.soon();
  }

  /** Say goodbye: whatever is still held counts as lost. */
  async leave(): Promise<void> {
    this.#heartbeat?.stop();
    if (this.#heartbeat === undefined) return;
    await this.#deps.storage.beat({ ...this.#describe(), leaving: true });
  }

  /** Nobody may believe in this process any more: stop relying on its leases and begin anew. */
  fence(): void {
    if (this.#isFenced || !this.#deps.goesOn()) return;
    this.#isFenced = true;
    this.#heartbeat?.stop();
    const lost = this.#processId;
    // Whatever is still answered to the old process is for nobody any more.
    this.#processId = freshProcessId();
    if (this.#deps.fenced(lost)) this.rejoining = this.#rejoin();
  }

  async #register(): Promise<void> {
    const { storage, trouble, beatEveryMs, lostAfterMs, asks, lost } = this.#deps;
    const heartbeat = new Heartbeat({
      beat: (what) => storage.beat(what),
      describe: () => this.#describe(),
      reported: (starts) => {
        this.#deps.reported(starts);
        trouble.over("beat");
      },
      asks,
      lost,
      fence: () => this.fence(),
      failed: (error, retryInMs) => trouble.report(error, "beat", retryInMs),
      beatEveryMs,
      lostAfterMs,
    });
    await heartbeat.start();
    this.#heartbeat = heartbeat;
    trouble.over("beat");
    trouble.over("register");
    this.#deps.registered(this.#processId);
  }

  async #rejoin(): Promise<void> {
    // What has ended is told first: under its old lease it still counts, as long as nobody has rescued it.
    await this.#deps.toldAll();
    while (this.#deps.goesOn()) {
      try {
        await this.#register();
        this.#isFenced = false;
        this.#deps.rejoined();
        return;
      } catch (error) {
        await this.#deps.trouble.pause(error, "register");
        // There is nothing to wait for: to try again at once, and again, would let nothing else have its turn.
        if (error instanceof StorageClosedError) return;
        // That call may have registered it after all, and been forgotten since.
        this.#processId = freshProcessId();
      }
    }
  }

  #describe(): ProcessBeat {
    const { name, lostAfterMs, declares } = this.#deps;
    return {
      id: this.#processId,
      ...(name === undefined ? {} : { name }),
      host: hostname(),
      pid: process.pid,
      lostAfterMs,
      queues: this.#deps.served(),
      ...(declares.length === 0 ? {} : { declares }),
      ...this.#deps.held(),
    };
  }
}

function freshProcessId(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 16);
}
