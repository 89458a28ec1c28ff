import type { LimitKey } from "../../job/key.ts";
import { promoteHead } from "../../job/lifecycle.ts";
import type { Ask, ClaimedJob, ClaimRequest, ClaimResult, QueueRequest } from "../storage.ts";
import { readCounts } from "./counts.ts";
import { claimedJob, type KeptJob, readJob } from "./job.ts";
import { HIGHEST_KEY, type Kind, LOWEST_KEY, MARKED, PLAIN, placeKey, readInstantKey } from "./keys.ts";
import type { Lane } from "./lanes.ts";
import { type Leases, type Line, readAsks, readLine, recordStarts } from "./leases.ts";
import { digestOf, readRunning, total } from "./limit-keys.ts";
import { LineReader, type ReadyJob } from "./line-reader.ts";
import { placeOf } from "./place.ts";
import { living } from "./processes.ts";
import type { LeaseRecord } from "./records.ts";
import { firstTick } from "./schedules.ts";
import type { Store } from "./store.ts";

/** Jobs given in one hold of the gate; a larger claim takes several. */
const HOLD_CLAIMS = 550;

/** A claim as it goes through one or more holds. */
export class Claim {
  readonly #store: Store;
  readonly #request: ClaimRequest;
  readonly #jobs: ClaimedJob[] = [];
  /** Jobs given, by index of the queue. */
  readonly #given: number[];
  #gaveMarked = false;
  #lastLease: LeaseRecord | undefined;
  #known = false;
  #asks: readonly Ask[] = [];
  #nextAt: number | undefined;
  #isDone = false;

  constructor(store: Store, request: ClaimRequest) {
    this.#store = store;
    this.#request = request;
    this.#given = request.queues.map(() => 0);
  }

  /** A hold that gave all it could may be followed by another; one that failed leaves what was given before. */
  async finish(now: () => number, alive: () => number): Promise<ClaimResult> {
    while (!this.#isDone) {
      try {
        await this.#store.hold(() => this.step(now(), alive()));
      } catch (error) {
        // What was given is leased: it must reach its worker.
        if (this.#jobs.length === 0) throw error;
        break;
      }
    }
    return {
      known: this.#known,
      jobs: this.#jobs,
      asks: this.#asks,
      ...(this.#nextAt === undefined ? {} : { nextAt: this.#nextAt }),
    };
  }

  /** Inside the gate. */
  step(now: number, alive: number): void {
    const store = this.#store;
    const { processId, starts } = this.#request;
    this.#known = living(store.volatile, processId, alive) !== undefined;
    const { found, passed, parked } = this.#known ? this.#find() : NOTHING_FOUND;
    const firstStep = this.#jobs.length === 0;
    if (found.length > 0 || passed.length > 0 || parked.length > 0 || (firstStep && starts.length > 0)) {
      store.writeVolatile((leases) => {
        if (firstStep) recordStarts(leases, starts, now);
        for (const place of passed) leases.tables.again.remove(place);
        for (const { job, ready, line } of found) {
          leases.adopt(job.lane.id, line);
          this.#lease(leases, job, ready, now);
        }
        // Those that stand before what was given: should they not come to be parked, they must be found again.
        for (const { lane, record } of parked) leases.giveBack(placeOf(lane, record.head, record.seq));
      });
    }
    for (const { job, index } of found) {
      this.#jobs.push(claimedJob(store.durable, job, this.#request.token));
      store.remember(job);
      (this.#given[index] as number) += 1;
      if (job.record.head.marked) this.#gaveMarked = true;
    }
    this.#asks = this.#known ? readAsks(store.volatile, processId) : [];
    const next = store.durable.scheduled.first(LOWEST_KEY, HIGHEST_KEY);
    this.#nextAt = next === undefined ? undefined : readInstantKey(next.key).instant;
    const tickAt = store.hasSchedules ? firstTick(store.durable) : undefined;
    if (tickAt !== undefined) this.#nextAt = Math.min(tickAt, this.#nextAt ?? tickAt);
    this.#isDone = found.length < HOLD_CLAIMS && parked.length < HOLD_CLAIMS;
    try {
      if (parked.length > 0) this.#park(parked, now);
    } catch (error) {
      // What was given is leased: it must reach its worker. The rest is parked by the next claim.
      if (this.#jobs.length === 0) throw error;
      this.#isDone = true;
    }
  }

  /**
   * Out of line, because as many of their keys run as may. It comes after the leases are given: died in between, a
   * process leaves jobs in line that the next claim parks; the other way round, it would leave jobs blocked by nobody.
   */
  #park(parked: readonly KeptJob[], now: number): void {
    this.#store.writeDurable(now, (ledger) => {
      for (const job of parked) ledger.move(job, promoteHead(job.record.head, false), { keepsPlace: true });
    });
  }

  #lease(leases: Leases, job: KeptJob, ready: ReadyJob, now: number): void {
    const { head, seq } = job.record;
    const { processId, token } = this.#request;
    const { kind, priority } = ready;
    const line = leases.line(job.lane.id);
    if (ready.isAgain) leases.tables.again.remove(placeKey(kind, job.lane.id, priority, seq));
    else line.advance(kind, priority, seq);
    const asked = head.cancelAsked !== undefined;
    const key = job.spec.more?.limit;
    const limit = key === undefined ? undefined : digestOf(key);
    let lease = this.#lastLease;
    // Most jobs of a claim get leases that say the same.
    if (
      lease?.generation !== head.generation ||
      lease.startedAt !== now ||
      lease.started !== head.marked ||
      lease.lane !== job.lane.id ||
      lease.asked !== asked ||
      lease.limit !== limit
    ) {
      lease = {
        token,
        holder: processId,
        generation: head.generation,
        startedAt: now,
        // A marked job is given for a free slot only, so that its start is certain.
        started: head.marked,
        claimedBy: processId,
        lane: job.lane.id,
        asked,
        ...(limit === undefined ? {} : { limit }),
      };
      this.#lastLease = lease;
    }
    leases.take(job.id, lease, head.cancelAsked);
  }

  // ── Finding ────────────────────────────────────────────────────────────────

  #find(): Findings {
    const { volatile } = this.#store;
    // Jobs given back are rare: one look tells whether there are any at all.
    const hasAgain = volatile.again.first(LOWEST_KEY, HIGHEST_KEY) !== undefined;
    const found: Found[] = [];
    const passed: Uint8Array[] = [];
    const parked: KeptJob[] = [];
    this.#running.clear();
    let mayMark = !this.#gaveMarked;
    for (const [index, request] of this.#request.queues.entries()) {
      const given = this.#given[index] as number;
      const most = Math.min(request.room + request.readAhead - given, HOLD_CLAIMS - found.length);
      if (most <= 0) continue;
      const room = Math.max(0, request.room - given);
      for (const one of this.#findInQueue(request, most, mayMark ? room : 0, hasAgain, passed, parked)) {
        found.push({ ...one, index });
        if (one.job.record.head.marked) mayMark = false;
      }
    }
    return { found, passed, parked };
  }

  /** How many jobs of each limit key run, those that this step gives included; by digest. */
  readonly #running = new Map<string, number>();

  /** Whether one more of the key may run, which is then counted. */
  #runs(limit: LimitKey): boolean {
    const digest = digestOf(limit);
    const running = this.#running.get(digest) ?? total(readRunning(this.#store.volatile, digest));
    const isGiven = running < limit.concurrency;
    this.#running.set(digest, isGiven ? running + 1 : running);
    return isGiven;
  }

  /**
   * The jobs of one queue that a claim may have, in order: across the asked lanes by priority, then seq.
   *
   * @param room a marked job may be given while fewer than this many were found
   * @param passed takes keys of `again` that are of no use any more
   * @param parked takes jobs of which as many of their limit key run as may
   */
  #findInQueue(
    request: QueueRequest,
    most: number,
    room: number,
    hasAgain: boolean,
    passed: Uint8Array[],
    parked: KeptJob[],
  ): Omit<Found, "index">[] {
    const { durable, volatile, lanes } = this.#store;
    const open = new Set<Lane>();
    for (const name of request.names) {
      const lane = lanes.find(request.queue, name);
      if (lane !== undefined && !lane.isPaused) open.add(lane);
    }
    const all: LineReader[] = [];
    const readers: LineReader[] = [];
    // One more than the fair share, so that most lanes are read once.
    const chunk = Math.min(HOLD_CLAIMS, 1 + Math.ceil(most / Math.max(1, open.size)));
    const addReader = (kind: Kind, lane: Lane, line: Line, lowest: number): void => {
      const reader = new LineReader(this.#store, kind, lane, line, lowest, hasAgain, chunk);
      if (reader.next !== undefined) readers.push(reader);
      all.push(reader);
    };
    for (const lane of open) {
      const counts = readCounts(durable, lane.id);
      if (counts.ready === 0) continue;
      const line = readLine(volatile, lane.id);
      if (counts.ready <= line.running) continue;
      if (counts.lowest !== null) addReader(PLAIN, lane, line, counts.lowest);
      if (counts.marked > 0 && room > 0) addReader(MARKED, lane, line, LOWEST_PRIORITY);
    }
    const heap = new Heap(readers);
    const found: Omit<Found, "index">[] = [];
    let mayMark = room > 0;
    for (let reader = heap.top; reader !== undefined && found.length < most; reader = heap.top) {
      if (parked.length >= HOLD_CLAIMS) break;
      if (reader.kind === MARKED && (!mayMark || found.length >= room)) {
        heap.drop();
        continue;
      }
      const ready = reader.next as ReadyJob;
      const job = readJob(durable, lanes, ready.id, ready);
      const limit = job?.spec.more?.limit;
      if (job !== undefined && limit !== undefined && !this.#runs(limit)) {
        parked.push(job);
      } else if (job !== undefined) {
        found.push({ job, ready, line: reader.line });
        if (reader.kind === MARKED) mayMark = false;
      }
      reader.advance();
      if (reader.next === undefined) heap.drop();
      else heap.settle();
    }
    for (const reader of all) passed.push(...reader.takePassed());
    return found;
  }
}

interface Found {
  readonly job: KeptJob;
  readonly ready: ReadyJob;
  /** As read in this hold. */
  readonly line: Line;
  /** Of the queue in the request. */
  readonly index: number;
}

/** What one look at the lines has found. */
interface Findings {
  readonly found: readonly Found[];
  /** Keys of `again` that are of no use any more. */
  readonly passed: readonly Uint8Array[];
  /** Jobs of which as many of their limit key run as may. */
  readonly parked: readonly KeptJob[];
}

const NOTHING_FOUND: Findings = { found: [], passed: [], parked: [] };

const LOWEST_PRIORITY = -0x8000;

/** Lanes by what they would give next. */
class Heap {
  readonly #readers: LineReader[];

  constructor(readers: LineReader[]) {
    this.#readers = readers;
    for (let i = (readers.length >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  get top(): LineReader | undefined {
    return this.#readers[0];
  }

  /** The top one has moved on. */
  settle(): void {
    this.#sink(0);
  }

  drop(): void {
    const last = this.#readers.pop() as LineReader;
    if (this.#readers.length === 0) return;
    this.#readers[0] = last;
    this.#sink(0);
  }

  #sink(start: number): void {
    const readers = this.#readers;
    const moving = readers[start] as LineReader;
    let i = start;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= readers.length) break;
      if (
        child + 1 < readers.length &&
        isBefore(readers[child + 1] as LineReader, readers[child] as LineReader)
      )
        child++;
      if (!isBefore(readers[child] as LineReader, moving)) break;
      readers[i] = readers[child] as LineReader;
      i = child;
    }
    readers[i] = moving;
  }
}

function isBefore(a: LineReader, b: LineReader): boolean {
  const x = a.next as ReadyJob;
  const y = b.next as ReadyJob;
  return x.priority < y.priority || (x.priority === y.priority && x.seq < y.seq);
}
