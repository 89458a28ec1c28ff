import type { Clock } from "../clock.ts";
import { StorageUnavailableError } from "../errors.ts";
import type { ClaimedJob, ClaimRequest, Lease, Storage } from "../storage/storage.ts";
import { Conditions } from "./conditions.ts";
import { Doubts } from "./doubts.ts";
import { Fetcher } from "./fetch.ts";
import type { WorkerPlan } from "./options.ts";
import type { Reporter } from "./reporter.ts";
import type { RunServices } from "./run-context.ts";
import { isPoison, type Pending, Settler } from "./settle.ts";
import { Slots } from "./slots.ts";
import { Verdicts } from "./verdicts.ts";

/** Settlements gathered before a flush is due at once. */
const FLUSH_SIZE = 500;
/** A job whose earlier run will not end comes again this much later, perhaps to another process. */
const STRAY_RETRY_MS = 5_000;
/** Longest the event loop is kept from other work by jobs that never wait. */
const HOG_MS = 2;

/** What the pipeline needs of the worker around it. */
export interface PipelineHost {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly plan: WorkerPlan;
  readonly services: RunServices;
  readonly reporter: Reporter;
  readonly random: () => number;
  /** False when nothing may be claimed or started: paused, stopping, fenced. Asked for every job. */
  mayClaim(): boolean;
  processId(): string;
  nextToken(): string;
  /** When the next scheduled job is due, as the last claim said. */
  due(nextAt: number | undefined): void;
  /** The storage does not know this process any more. */
  unknown(): void;
  failed(error: unknown, during: string): Promise<void>;
  worked(): void;
}

/**
 * fetch → run → settle. One loop talks to the storage: every call carries what has ended since the last one
 * and asks for what fits now. While a call is under way runs go on, from what was read ahead.
 */
export class Pipeline {
  readonly #host: PipelineHost;
  readonly slots: Slots;
  readonly #fetcher: Fetcher;
  readonly #settler = new Settler();
  readonly #doubts = new Doubts();
  readonly #conditions = new Conditions();
  readonly #verdicts: Verdicts;
  /** The claim under way. */
  #request: ClaimRequest | undefined;
  #abandon: (() => void) | undefined;
  #flushSoon = false;
  /** How often something may have become available. */
  #news = 0;
  #kicked = false;
  #wake: (() => void) | undefined;
  #idleWaiters: (() => void)[] = [];
  #lastYield = 0;
  #ended = false;

  constructor(host: PipelineHost) {
    this.#host = host;
    const { clock, plan, services, reporter, random } = host;
    this.#verdicts = new Verdicts({
      storage: host.storage,
      reporter,
      committed: ({ job, startedAt }) => {
        this.#settler.addRepeated(job, startedAt);
        this.#flushWhenDue();
      },
      failed: (error) => host.failed(error, "exchange"),
      hasEnded: () => this.#ended,
      decided: () => this.#conditions.check(),
    });
    this.slots = new Slots({
      ...{ clock, plan, services, reporter, random, settler: this.#settler, verdicts: this.#verdicts },
      mayClaim: () => host.mayClaim(),
      ended: () => {
        this.#flushWhenDue();
        this.#conditions.check();
      },
      changed: () => this.#conditions.check(),
      kick: () => this.kick(),
    });
    this.#fetcher = new Fetcher(this.slots.lines, plan, () => this.slots.running);
  }

  get ahead(): number {
    return this.#fetcher.ahead;
  }

  /** Nothing runs, waits here, or is on its way to the storage. */
  get isQuiet(): boolean {
    return this.slots.runs.size === 0 && this.ahead === 0 && !this.hasUnsettled;
  }

  get hasUnsettled(): boolean {
    return !this.#settler.isEmpty || !this.#doubts.isEmpty || !this.#verdicts.isEmpty;
  }

  /** Every lease this process holds, and those whose start was not told yet. */
  held(): { holds: Lease[]; starts: Lease[] } {
    const { holds, starts } = this.slots.held();
    return { holds: [...holds, ...this.#settler.leases(), ...this.#verdicts.leases()], starts };
  }

  /** The leases are gone: nothing of what is here counts any more. Answers how many runs were aborted. */
  forsake(): number {
    const aborted = this.slots.forsake();
    this.#request = undefined;
    this.#doubts.clear();
    this.#abandon?.();
    this.#conditions.check();
    // What has ended is still worth telling: a settle that comes too late changes nothing.
    return aborted;
  }

  /** Look for work soon: something may have changed. */
  kick(): void {
    this.#kicked = true;
    this.#wake?.();
  }

  /** Something may have become available everywhere. */
  refresh(): void {
    this.#news += 1;
    for (const line of this.slots.lines.all) line.drained = false;
    this.kick();
  }

  /** Runs the loop until {@link end}. */
  async loop(): Promise<void> {
    while (!this.#ended) {
      this.#kicked = false;
      const worked = await this.#exchange();
      if (worked) continue;
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
      if (!this.#kicked) await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  end(): void {
    this.#ended = true;
    this.slots.end();
    this.#conditions.check();
    this.kick();
  }

  /** Resolves when the loop has nothing to do at this moment. */
  async caughtUp(): Promise<void> {
    const done = new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    this.kick();
    await done;
  }

  /** Resolves when no run is left whose end counts. */
  allRunsOver(): Promise<void> {
    return this.#conditions.until(() => this.slots.areAllOver);
  }

  /**
   * Resolves when the storage has answered to every settlement and to the claim under way: what that one
   * gives has to go back, too.
   */
  allSettled(): Promise<void> {
    this.kick();
    return this.#conditions.until(() => this.#ended || (!this.hasUnsettled && this.#request === undefined));
  }

  /** Resolves when nothing runs, waits here, or is on its way to the storage. */
  quiet(): Promise<void> {
    return this.#conditions.until(() => this.#ended || this.isQuiet);
  }

  /** Ask the storage whether a running job is to be cancelled, and tell it what has started. */
  async look(): Promise<void> {
    const { storage } = this.#host;
    const request = this.#buildRequest(false);
    const { known, asks, nextAt } = await storage.claim(request);
    if (request.processId !== this.#host.processId()) return;
    if (!known) return this.#host.unknown();
    this.slots.reported(request.starts);
    this.slots.asked(asks);
    this.#host.due(nextAt);
  }

  /** One call to the storage, when there is anything to say or to ask. */
  async #exchange(): Promise<boolean> {
    if (!this.#doubts.isEmpty && !(await this.#resolveDoubts())) return true;
    const asks = this.#fetcher.isDue && this.#host.mayClaim();
    if (this.#settler.size === 0 && !asks) return false;
    const settlements = this.#settler.take();
    const request = this.#buildRequest(asks || settlements.length > 0);
    const news = this.#news;
    const sentAt = performance.now();
    this.#request = request;
    this.#flushSoon = false;
    try {
      const { settled, claimed } = await this.#ask(settlements, request);
      this.#settler.answered();
      this.#request = undefined;
      const roundTripMs = performance.now() - sentAt;
      for (const line of this.slots.lines.all) line.roundTripMs = roundTripMs;
      const { reporter } = this.#host;
      for (let i = 0; i < settled.length; i += 1) {
        if (settled[i] !== "stale") continue;
        const { job, isRepeated } = settlements[i] as Pending;
        if (isRepeated === undefined) reporter.stale(job);
      }
      this.#host.worked();
      // Registered anew meanwhile: the old process's jobs have no heartbeat any more.
      if (request.processId === this.#host.processId()) {
        if (claimed.known) {
          this.slots.reported(request.starts);
          this.slots.asked(claimed.asks);
          this.#take(claimed.jobs, request, news);
        } else {
          this.#host.unknown();
        }
      }
      this.#host.due(claimed.nextAt);
    } catch (error) {
      // A fence has dropped the request: nobody asks any more what the old process holds.
      if (this.#request !== undefined && request.queues.length > 0) this.#doubts.add(request.token, false);
      this.#request = undefined;
      if (isPoison(error) && settlements.length > 0) {
        await this.#settler.sendEach(this.#host.storage);
      } else {
        this.#settler.failed();
        await this.#host.failed(error, "exchange");
      }
    }
    this.#conditions.check();
    await this.#breathe();
    return true;
  }

  /** A call failed that may have leased jobs under this token all the same; `marked`: and they may have started. */
  doubt(token: string, marked: boolean): void {
    this.#doubts.add(token, marked);
    this.kick();
  }

  /** Answers whether all is known again. */
  async #resolveDoubts(): Promise<boolean> {
    const { storage } = this.#host;
    try {
      await this.#doubts.resolve(storage, this.#host.processId(), this.held().holds, this.slots.now());
    } catch (error) {
      await this.#host.failed(error, "exchange");
      return false;
    }
    // What came back is at its old place, for whoever claims next.
    for (const line of this.slots.lines.all) line.drained = false;
    this.#conditions.check();
    return true;
  }

  /** The call of {@link #exchange}, which a fence ends even when the storage never answers. */
  #ask(settlements: readonly Pending[], request: ClaimRequest): ReturnType<Storage["exchange"]> {
    return new Promise((resolve, reject) => {
      this.#abandon = () => reject(new StorageUnavailableError("The answer came too late."));
      this.#host.storage.exchange(settlements, request).then(resolve, reject);
    });
  }

  #buildRequest(ask: boolean): ClaimRequest {
    return {
      processId: this.#host.processId(),
      token: this.#host.nextToken(),
      queues: ask && this.#host.mayClaim() ? this.#fetcher.requests() : [],
      starts: this.slots.starts(),
    };
  }

  /** @param news what was known of when the request was sent */
  #take(jobs: readonly ClaimedJob[], request: ClaimRequest, news: number): void {
    const now = performance.now();
    const got = new Map<string, number>();
    let marked = false;
    const mayStart = this.#host.mayClaim();
    // That question may have fenced the process: then these leases are as void as the others.
    if (request.processId !== this.#host.processId()) return;
    for (const job of jobs) {
      got.set(job.queue, (got.get(job.queue) ?? 0) + 1);
      const line = this.slots.lines.of(job.queue, job.name);
      if (this.slots.isStray(job.id)) {
        // Its earlier run still goes on in this very process: two at once is what must not be.
        this.#settler.add(
          job,
          { state: "scheduled", later: { delayMs: STRAY_RETRY_MS }, attempt: "kept" },
          this.slots.now(),
        );
        this.kick();
      } else if (job.marked && mayStart) {
        // Its claim counts as its start, so it starts first and now.
        marked = true;
        this.slots.start(job, line);
      } else {
        line.add(job, now);
      }
    }
    for (const { queue, names, room, readAhead } of request.queues) {
      const line = this.slots.lines.of(queue, names[0] as string);
      // A marked job came alone: more of them may wait. And what became available while the request was under
      // way need not be in its answer: the storage may have looked just before.
      const isAll = !marked && news === this.#news;
      line.drained = isAll && (got.get(queue) ?? 0) < room + readAhead;
    }
    // What arrives while the worker pauses or stops goes back unspent.
    if (mayStart) this.slots.fill();
    else this.slots.releaseAhead();
  }

  /** Settlements to send with the next call, and again until they are answered. */
  add(settlements: readonly Pending[]): void {
    this.#settler.addAll(settlements);
  }

  #flushWhenDue(): void {
    const isIdle = this.slots.running === 0 && this.ahead === 0;
    if (isIdle || this.#settler.size >= FLUSH_SIZE) {
      this.kick();
    } else if (!this.#flushSoon) {
      // All that ends in this turn of the event loop goes into one flush.
      this.#flushSoon = true;
      setImmediate(() => this.kick());
    }
  }

  /** Let timers, sockets and the application have their turn: jobs that never wait would starve them. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#lastYield < HOG_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#lastYield = performance.now();
  }
}
