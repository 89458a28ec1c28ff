import type { JobId } from "../../job/job.ts";
import type { Ask, Lease, ProcessId } from "../storage.ts";
import type { VolatileTables } from "./environments.ts";
import {
  type Kind,
  laneKey,
  placeKey,
  type Place,
  textGroup,
  textKey,
  textWholeKey,
  wholeKey,
} from "./keys.ts";
import { ALL_LANES } from "./counts.ts";
import { readRunning, writeRunning } from "./limit-keys.ts";
import type { Follow } from "./ledger.ts";
import { decodeLease, encodeLease, type LeaseRecord } from "./records.ts";

/** What is volatile about a lane: how many of its jobs run, and how far each line was given out. */
export class Line {
  running: number;
  /** Flat: kind, priority, seq; kind, priority, seq; … Everything up to seq was given out, or is in `again`. */
  readonly #cursors: number[];

  constructor(text: string | undefined) {
    const [running = 0, ...cursors] = text === undefined ? [] : (JSON.parse(text) as number[]);
    this.running = running;
    this.#cursors = cursors;
  }

  cursor(kind: Kind, priority: number): number {
    const cursors = this.#cursors;
    for (let i = 0; i < cursors.length; i += 3) {
      if (cursors[i] === kind && cursors[i + 1] === priority) return cursors[i + 2] as number;
    }
    return 0;
  }

  /** The farthest any line was given out. */
  get farthest(): number {
    let farthest = 0;
    for (let i = 2; i < this.#cursors.length; i += 3)
      farthest = Math.max(farthest, this.#cursors[i] as number);
    return farthest;
  }

  advance(kind: Kind, priority: number, seq: number): void {
    const cursors = this.#cursors;
    for (let i = 0; i < cursors.length; i += 3) {
      if (cursors[i] !== kind || cursors[i + 1] !== priority) continue;
      if (seq > (cursors[i + 2] as number)) cursors[i + 2] = seq;
      return;
    }
    cursors.push(kind, priority, seq);
  }

  encode(): string {
    return this.#cursors.length === 0 ? `[${this.running}]` : `[${this.running},${this.#cursors.join()}]`;
  }
}

export function readLine(tables: VolatileTables, lane: number): Line {
  return new Line(tables.line.get(laneKey(lane)));
}

export function readLease(tables: VolatileTables, id: JobId): LeaseRecord | undefined {
  const text = tables.lease.get(wholeKey(id));
  if (text === undefined) return undefined;
  // The leases of one claim say the same, and they are settled together.
  if (text !== lastLease.text) lastLease = { text, lease: decodeLease(text) };
  return lastLease.lease;
}

let lastLease: { readonly text: string; readonly lease: LeaseRecord | undefined } = {
  text: "",
  lease: undefined,
};

/** The lease as stored, while it stands. */
export function standing(tables: VolatileTables, { id, generation, token }: Lease): LeaseRecord | undefined {
  const lease = readLease(tables, id);
  return lease !== undefined && lease.generation === generation && lease.token === token ? lease : undefined;
}

/** Requests to cancel something a process runs. */
export function readAsks(tables: VolatileTables, process: ProcessId): Ask[] {
  const start = textGroup(process);
  return tables.ask.rows(start, Buffer.concat([start, GROUP_END]), ASKS_MAX).map(({ value }) => {
    const [id, generation, reason] = JSON.parse(value) as [JobId, number, string];
    return { id, generation, reason };
  });
}

const GROUP_END = new Uint8Array(9).fill(255);

/** More requests than this are told of in later answers, when these runs have ended. */
const ASKS_MAX = 10_000;

export function readHeld(tables: VolatileTables, process: ProcessId): number {
  return Number(tables.held.get(textKey(process)) ?? 0);
}

/**
 * One volatile write in the making: leases come and go, and the counters stay true. It lives within one
 * transaction; `finish` must be the last call in it.
 */
export class Leases {
  readonly tables: VolatileTables;
  readonly #lines = new Map<number, Line>();
  readonly #held = new Map<ProcessId, number>();
  /** By the digest of the limit key, then by lane. */
  readonly #running = new Map<string, Map<number, number>>();

  constructor(tables: VolatileTables) {
    this.tables = tables;
  }

  /** A new lease. */
  take(id: JobId, lease: LeaseRecord, reason: string | undefined): void {
    this.tables.lease.putSame(wholeKey(id), encodeLease(lease));
    this.#count(lease, 1);
    if (reason !== undefined) this.#ask(id, lease, lease.generation, reason);
  }

  /** Another holder or another fact of the same lease. */
  replace(id: JobId, before: LeaseRecord, after: LeaseRecord): void {
    this.tables.lease.put(wholeKey(id), encodeLease(after));
    if (before.holder === after.holder) return;
    this.#hold(before.holder, -1);
    this.#hold(after.holder, 1);
    if (!before.asked) return;
    const key = textWholeKey(before.holder, id);
    const row = this.tables.ask.get(key);
    this.tables.ask.remove(key);
    if (row !== undefined) this.tables.ask.put(textWholeKey(after.holder, id), row);
  }

  drop(id: JobId, lease: LeaseRecord): void {
    this.tables.lease.remove(wholeKey(id));
    this.#count(lease, -1);
    if (lease.asked) this.tables.ask.remove(textWholeKey(lease.holder, id));
  }

  ask(id: JobId, lease: LeaseRecord, generation: number, reason: string): void {
    if (!lease.asked) this.tables.lease.put(wholeKey(id), encodeLease({ ...lease, asked: true }));
    this.#ask(id, lease, generation, reason);
  }

  #ask(id: JobId, lease: LeaseRecord, generation: number, reason: string): void {
    this.tables.ask.put(textWholeKey(lease.holder, id), JSON.stringify([id, generation, reason]));
  }

  /** A job that is claimable again at a place in line. Ahead of the cursor it is found anyway. */
  giveBack({ kind, lane, priority, seq }: Place): void {
    if (seq <= this.line(lane).cursor(kind, priority))
      this.tables.again.put(placeKey(kind, lane, priority, seq), "");
  }

  /** Do what a durable write asks for. */
  follow({ drops, again, freed, gone, asks }: Follow): void {
    for (const [id, lease] of drops) this.drop(id, lease);
    for (const { kind, lane, priority, seq } of gone)
      this.tables.again.remove(placeKey(kind, lane, priority, seq));
    for (const place of again) this.giveBack(place);
    for (const place of freed) this.giveBack(place);
    for (const { id, lease, generation, reason } of asks) this.ask(id, lease, generation, reason);
  }

  line(lane: number): Line {
    let line = this.#lines.get(lane);
    if (line === undefined) {
      line = readLine(this.tables, lane);
      this.#lines.set(lane, line);
    }
    return line;
  }

  /** Use what was read of a lane since the gate was passed. */
  adopt(lane: number, line: Line): void {
    if (!this.#lines.has(lane)) this.#lines.set(lane, line);
  }

  /** How many leases a process holds now. */
  held(process: ProcessId): number {
    return this.#held.get(process) ?? readHeld(this.tables, process);
  }

  #count(lease: LeaseRecord, by: 1 | -1): void {
    this.line(lease.lane).running += by;
    this.line(ALL_LANES).running += by;
    this.#hold(lease.holder, by);
    if (lease.limit !== undefined) this.#run(lease.limit, lease.lane, by);
  }

  #run(digest: string, lane: number, by: 1 | -1): void {
    let running = this.#running.get(digest);
    if (running === undefined) {
      running = readRunning(this.tables, digest);
      this.#running.set(digest, running);
    }
    running.set(lane, (running.get(lane) ?? 0) + by);
  }

  #hold(process: ProcessId, by: 1 | -1): void {
    this.#held.set(process, this.held(process) + by);
  }

  finish(): void {
    for (const [lane, line] of this.#lines) this.tables.line.put(laneKey(lane), line.encode());
    for (const [digest, running] of this.#running) writeRunning(this.tables, digest, running);
    for (const [process, held] of this.#held) {
      if (held > 0) this.tables.held.put(textKey(process), String(held));
      else this.tables.held.remove(textKey(process));
    }
  }
}

/** Note that handlers have started. */
export function recordStarts(leases: Leases, starts: readonly Lease[], now: number): void {
  for (const start of starts) {
    const lease = standing(leases.tables, start);
    if (lease === undefined || lease.started) continue;
    leases.replace(start.id, lease, { ...lease, started: true, startedAt: now });
  }
}
