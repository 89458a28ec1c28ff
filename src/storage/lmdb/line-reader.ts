import type { JobId } from "../../job/job.ts";
import { type Kind, type Place, placeKey, readPlace } from "./keys.ts";
import type { Lane } from "./lanes.ts";
import type { Line } from "./leases.ts";
import { readyId } from "./place.ts";
import type { Store } from "./store.ts";
import type { Row, Table } from "./table.ts";

/** A claimable job, as far as its row in line tells. */
export interface ReadyJob {
  readonly id: JobId;
  readonly hasHead: boolean;
  readonly kind: Kind;
  readonly priority: number;
  readonly seq: number;
  /** It was given back, and stands before the cursor. */
  readonly isAgain: boolean;
}

/**
 * The claimable jobs of one lane and kind by priority and seq: those given back merged with those behind
 * the cursors. Rows that run are stepped over by a seek, never one by one.
 */
export class LineReader {
  readonly kind: Kind;
  readonly line: Line;
  next: ReadyJob | undefined;
  readonly #store: Store;
  readonly #lane: Lane;
  #chunk: number;

  /** Rows of `ready` behind the cursors, and where to read on; nothing more behind an absent place. */
  #ready: ReadyJob[] = [];
  #readyAt = 0;
  #readyFrom: { readonly priority: number; readonly seq: number } | undefined;

  #again: ReadyJob[] = [];
  #againAt = 0;
  #againFrom: { readonly priority: number; readonly seq: number } | undefined;
  /** Rows of `again` of which the job is not there any more. */
  #passed: Uint8Array[] = [];

  constructor(
    store: Store,
    kind: Kind,
    lane: Lane,
    line: Line,
    lowest: number,
    hasAgain: boolean,
    chunk: number,
  ) {
    this.#store = store;
    this.kind = kind;
    this.#lane = lane;
    this.line = line;
    this.#chunk = chunk;
    this.#readyFrom = { priority: lowest, seq: line.cursor(kind, lowest) + 1 };
    this.#againFrom = hasAgain ? { priority: lowest, seq: 0 } : undefined;
    this.advance();
  }

  /** Find `next` behind the present one. */
  advance(): void {
    const ready = this.#peekReady();
    const again = this.#peekAgain();
    if (again !== undefined && (ready === undefined || isBefore(again, ready))) {
      this.#againAt++;
      this.next = again;
    } else {
      if (ready !== undefined) this.#readyAt++;
      this.next = ready;
    }
  }

  /** Keys of rows that are of no use any more. */
  takePassed(): Uint8Array[] {
    const passed = this.#passed;
    this.#passed = [];
    return passed;
  }

  #peekReady(): ReadyJob | undefined {
    while (this.#readyAt >= this.#ready.length && this.#readyFrom !== undefined)
      this.#readReady(this.#readyFrom);
    return this.#ready[this.#readyAt];
  }

  #readReady({ priority, seq }: { readonly priority: number; readonly seq: number }): void {
    const rows = this.#rows(this.#store.durable.ready, priority, seq);
    this.#ready = [];
    this.#readyAt = 0;
    this.#readyFrom = undefined;
    let last = { priority, seq: seq - 1 };
    for (const { key, value } of rows.list) {
      const place = readPlace(key);
      const cursor = place.priority === last.priority ? 0 : this.line.cursor(this.kind, place.priority);
      if (place.seq <= cursor) {
        // A line of another priority begins here, with jobs that run: go on behind them.
        this.#readyFrom = { priority: place.priority, seq: cursor + 1 };
        return;
      }
      last = place;
      this.#ready.push(readyJob(value, place, false));
    }
    if (rows.isFull) this.#readyFrom = { priority: last.priority, seq: last.seq + 1 };
  }

  #peekAgain(): ReadyJob | undefined {
    while (this.#againAt >= this.#again.length && this.#againFrom !== undefined)
      this.#readAgain(this.#againFrom);
    return this.#again[this.#againAt];
  }

  #readAgain({ priority, seq }: { readonly priority: number; readonly seq: number }): void {
    const { again } = this.#store.volatile;
    const { ready } = this.#store.durable;
    const rows = this.#rows(again, priority, seq);
    this.#again = [];
    this.#againAt = 0;
    this.#againFrom = undefined;
    let last = { priority, seq };
    for (const { key } of rows.list) {
      const place = readPlace(key);
      last = { priority: place.priority, seq: place.seq + 1 };
      const value = ready.get(key);
      if (value === undefined) this.#passed.push(key);
      else this.#again.push(readyJob(value, place, true));
    }
    if (rows.isFull) this.#againFrom = last;
  }

  #rows(table: Table, priority: number, seq: number): { readonly list: Row[]; readonly isFull: boolean } {
    const limit = this.#chunk;
    this.#chunk = Math.min(limit * 4, CHUNK_MAX);
    const { id } = this.#lane;
    const list = table.rows(
      placeKey(this.kind, id, priority, seq),
      placeKey(this.kind, id + 1, -0x8000, 0),
      limit,
    );
    return { list, isFull: list.length === limit };
  }
}

const CHUNK_MAX = 512;

/** Field by field: spreading is slow, and this is done for every job claimed. */
function readyJob(value: string, { kind, priority, seq }: Place, isAgain: boolean): ReadyJob {
  return { id: readyId(value, seq), hasHead: value !== "", kind, priority, seq, isAgain };
}

function isBefore(a: ReadyJob, b: ReadyJob): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.seq < b.seq);
}
