import { InvalidOptionError } from "../../errors.ts";
import { isHeld, isHeldByTime, type KeyRow, keyRow, type UniqueKey } from "../../job/key.ts";
import { type JobId, JOB_STATES, type JobState } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import { checkKeyQuery } from "../page.ts";
import type { HeldKey, KeyPage, KeyQuery, NewJob } from "../storage.ts";
import { Heap } from "./heap.ts";
import type { KeptJob } from "./kept-job.ts";

/** Unique keys and the jobs that took them last. */
export class UniqueKeys {
  readonly #jobs: ReadonlyMap<JobId, KeptJob>;
  readonly #scopes = new Map<string, Scope>();
  /** Rows that time lets go of, the first one on top. */
  #timed = timedRows([]);
  #size = 0;
  #numbers = 0;

  constructor(jobs: ReadonlyMap<JobId, KeptJob>) {
    this.#jobs = jobs;
  }

  /** Who took the key last. */
  row(unique: UniqueKey): KeyRow | undefined {
    return this.#scopes.get(unique.scope)?.rows.get(unique.key);
  }

  /** Who holds the key now. */
  heldBy(unique: UniqueKey, now: number): KeyRow | undefined {
    const row = this.row(unique);
    return row !== undefined && isHeld(row, this.#stateOf(row.id), now) ? row : undefined;
  }

  /** The first job of a group to which it is an error that its key is held, by a stored job or by one of the group. */
  firstConflict(
    group: readonly NewJob[],
    now: number,
  ): { readonly index: number; readonly existing: JobId } | undefined {
    let inGroup: Set<string> | undefined;
    for (let index = 0; index < group.length; index++) {
      const unique = group[index]?.unique;
      if (unique === undefined) continue;
      const held = this.heldBy(unique, now);
      const name = `${unique.scope.length}:${unique.scope}${unique.key}`;
      if (unique.onConflict === "error" && (held !== undefined || inGroup?.has(name) === true)) {
        return { index, existing: held?.id ?? 0 };
      }
      // Whatever becomes of this one, its key is held afterwards.
      inGroup ??= new Set();
      inGroup.add(name);
    }
    return undefined;
  }

  take(id: JobId, unique: UniqueKey, now: number): void {
    this.#put(unique, keyRow(id, unique, now));
  }

  /** A finished job is run again: it holds its key as before. */
  takeBack(id: JobId, unique: UniqueKey): void {
    const row = this.row(unique);
    if (row?.id !== id) this.#put(unique, { id, while: unique.while });
  }

  #put({ scope: name, key }: UniqueKey, facts: KeyRow): void {
    let scope = this.#scopes.get(name);
    if (scope === undefined) {
      scope = new Scope(name);
      this.#scopes.set(name, scope);
    }
    const row: Row = { ...facts, key, scope, number: ++this.#numbers };
    if (!scope.rows.has(key)) this.#size++;
    scope.put(row);
    if (typeof row.until !== "number") return;
    this.#timed.push(row);
    // A key that is taken again and again leaves one behind each time.
    if (this.#timed.size > 64 && this.#timed.size > 2 * this.#size) this.#timed = timedRows(this.#all());
  }

  /** Its job has ended: the key is free, unless time or an heir holds it. */
  ended({ id, spec: { unique } }: KeptJob, now: number): void {
    if (unique === undefined || unique.inherit === true) return;
    const row = this.row(unique);
    if (row?.id === id && !isHeldByTime(row, now)) this.#drop(row as Row);
  }

  /** Its job is gone. @param byHand whether somebody took it out, which frees the key in any case */
  gone({ id, spec: { unique } }: KeptJob, now: number, byHand: boolean): void {
    if (unique === undefined) return;
    const row = this.row(unique);
    if (row?.id === id && (byHand || !isHeldByTime(row, now))) this.#drop(row as Row);
  }

  /** Rows that only time held. */
  forgetOld(now: number): void {
    for (
      let row = this.#timed.top();
      row !== undefined && (row.until as number) <= now;
      row = this.#timed.top()
    ) {
      this.#timed.dropTop();
      // An heir may still want what its job left behind.
      if (isCurrent(row) && !isHeld(row, this.#stateOf(row.id), now) && !this.#jobs.has(row.id))
        this.#drop(row);
    }
  }

  page(query: KeyQuery, now: number): KeyPage {
    checkKeyQuery(query);
    const after = query.after === undefined ? 0 : cursorOf(query.after);
    const scope = this.#scopes.get(query.scope);
    if (scope === undefined) return { keys: [] };
    const rows = query.key === undefined ? scope.behind(after) : [scope.rows.get(query.key)];
    const keys: HeldKey[] = [];
    let looked = 0;
    let last = after;
    for (const row of rows) {
      if (keys.length === query.limit || looked === limits.listScan) return { keys, next: String(last) };
      if (row === undefined) continue;
      looked++;
      last = row.number;
      if (isHeld(row, this.#stateOf(row.id), now)) keys.push(heldKey(row));
    }
    return { keys };
  }

  *#all(): Generator<Row> {
    for (const { rows } of this.#scopes.values()) yield* rows.values();
  }

  #stateOf(id: JobId): JobState | undefined {
    const job = this.#jobs.get(id);
    return job === undefined ? undefined : JOB_STATES[job.state];
  }

  #drop(row: Row): void {
    row.scope.drop(row);
    this.#size--;
    if (row.scope.rows.size === 0) this.#scopes.delete(row.scope.name);
  }
}

function timedRows(rows: Iterable<Row>): Heap<Row> {
  return new Heap(
    [...rows].filter(({ until }) => typeof until === "number"),
    (a, b) => (a.until as number) < (b.until as number),
  );
}

interface Row extends KeyRow {
  readonly key: string;
  readonly scope: Scope;
  readonly number: number;
}

/** The keys of one scope: by key, and in the order of their taking, so that a page can begin anywhere. */
class Scope {
  readonly name: string;
  readonly rows: Map<string, Row> = new Map();
  #inOrder: Row[] = [];

  constructor(name: string) {
    this.name = name;
  }

  put(row: Row): void {
    this.rows.set(row.key, row);
    this.#inOrder.push(row);
    this.#tidy();
  }

  drop({ key }: Row): void {
    this.rows.delete(key);
    this.#tidy();
  }

  /** Rows that are gone stay in the list until they are most of it. */
  #tidy(): void {
    if (this.#inOrder.length < 64 || this.#inOrder.length < 2 * this.rows.size) return;
    this.#inOrder = this.#inOrder.filter((row) => this.rows.get(row.key) === row);
  }

  *behind(number: number): Generator<Row> {
    let low = 0;
    let high = this.#inOrder.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#inOrder[middle] as Row).number > number) high = middle;
      else low = middle + 1;
    }
    for (let i = low; i < this.#inOrder.length; i++) {
      const row = this.#inOrder[i] as Row;
      if (this.rows.get(row.key) === row) yield row;
    }
  }
}

function cursorOf(after: string): number {
  const number = /^[1-9]\d{0,15}$/.test(after) ? Number(after) : Number.NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new InvalidOptionError("after", after, "Use the `next` of a page of keys.");
}

function isCurrent(row: Row): boolean {
  return row.scope.rows.get(row.key) === row;
}

function heldKey({ key, id, until }: Row): HeldKey {
  return { key, id, ...(until === undefined ? {} : { until }) };
}
