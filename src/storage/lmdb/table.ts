import type { Database } from "lmdb";

export interface Row {
  readonly key: Uint8Array;
  readonly value: string;
}

/** One named database of an environment: byte keys in order, text values. */
export class Table {
  readonly #db: Database<string, Uint8Array>;
  /** The last value of {@link putSame}. */
  #lastText = "";
  #lastBytes: Uint8Array = Buffer.alloc(0);

  constructor(db: Database<string, Uint8Array>) {
    this.#db = db;
  }

  get(key: Uint8Array): string | undefined {
    return this.#db.get(key);
  }

  /** Inside a transaction only. */
  put(key: Uint8Array, value: string): void {
    void this.#db.put(key, value);
  }

  /** As {@link put}, for rows that often say the same: turning text into bytes has its price. */
  putSame(key: Uint8Array, value: string): void {
    if (value !== this.#lastText) {
      this.#lastText = value;
      this.#lastBytes = Buffer.from(value);
    }
    void this.#db.put(key, this.#lastBytes as unknown as string);
  }

  /** Inside a transaction only. */
  remove(key: Uint8Array): void {
    void this.#db.remove(key);
  }

  /**
   * Rows from `start` on and before `end`. Read at once, in one turn: a cursor left open would pin old pages,
   * and as nothing can come between, it needs no snapshot of its own.
   */
  rows(start: Uint8Array, end: Uint8Array, limit: number): Row[] {
    const rows: Row[] = [];
    if (limit <= 0) return rows;
    for (const row of this.#db.getRange({ start, end, limit, snapshot: false })) rows.push(row);
    return rows;
  }

  /** Rows before `start`, downwards to `end` inclusive. */
  rowsBelow(start: Uint8Array, end: Uint8Array, limit: number): Row[] {
    const rows: Row[] = [];
    if (limit <= 0) return rows;
    const range = { start, end, limit: limit + 1, reverse: true, inclusiveEnd: true, snapshot: false };
    for (const row of this.#db.getRange(range)) {
      if (Buffer.compare(row.key, start) < 0 && rows.length < limit) rows.push(row);
    }
    return rows;
  }

  /** The first row at or after `start` and before `end`. */
  first(start: Uint8Array, end: Uint8Array): Row | undefined {
    return this.rows(start, end, 1)[0];
  }

  /** Remove every row. Not inside a transaction. */
  clear(): void {
    this.#db.clearSync();
  }
}
