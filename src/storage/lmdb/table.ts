import type { Database } from "lmdb";

export interface Row {
  readonly key: Uint8Array;
  readonly value: string;
}

/** One named database of an environment: byte keys in order, text values. */
export class Table {
  readonly #db: Database<string, Uint8Array>;

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

  /** Inside a transaction only. */
  remove(key: Uint8Array): void {
    void this.#db.remove(key);
  }

  /** Rows from `start` on and before `end`. Read at once: a cursor left open would pin old pages. */
  rows(start: Uint8Array, end: Uint8Array, limit: number): Row[] {
    const rows: Row[] = [];
    if (limit <= 0) return rows;
    for (const row of this.#db.getRange({ start, end, limit })) rows.push(row);
    return rows;
  }

  /** Rows before `start`, downwards to `end` inclusive. */
  rowsBelow(start: Uint8Array, end: Uint8Array, limit: number): Row[] {
    const rows: Row[] = [];
    if (limit <= 0) return rows;
    const range = { start, end, limit: limit + 1, reverse: true, inclusiveEnd: true };
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
