import assert from "node:assert/strict";
import { isFinal, type JobId } from "../../src/job/job.ts";
import { isHeld, isHeldByTime, type KeyRow, keyRow, type UniqueKey } from "../../src/job/key.ts";
import type { HeldKey, NewJob, Refusal } from "../../src/storage/storage.ts";
import { type ModelJob, stateOf } from "./model-job.ts";

interface Jobs {
  readonly now: number;
  readonly jobs: readonly ModelJob[];
  find(id: JobId): ModelJob | undefined;
}

/** The rules of unique keys: for each key the job that took it last. */
export class UniqueKeys {
  readonly #model: Jobs;
  readonly #rows: Map<string, { readonly scope: string; readonly key: string; row: KeyRow }> = new Map();

  constructor(model: Jobs) {
    this.#model = model;
  }

  heldBy(unique: UniqueKey | undefined): KeyRow | undefined {
    const row = unique && this.#rows.get(nameOf(unique))?.row;
    return row !== undefined && this.#isHeld(row) ? row : undefined;
  }

  /** The first job of a group to which it is an error that its key is held, in the store or by the group. */
  heldKey(group: readonly NewJob[]): { refusal: Refusal; index: number } | undefined {
    for (const [index, { unique }] of group.entries()) {
      if (unique?.onConflict !== "error") continue;
      const holder = this.heldBy(unique);
      const inGroup = group
        .slice(0, index)
        .some((one) => one.unique && nameOf(one.unique) === nameOf(unique));
      if (holder === undefined && !inGroup) continue;
      return { refusal: { kind: "key-held", existing: holder?.id ?? 0 }, index };
    }
    return undefined;
  }

  take(id: JobId, unique: UniqueKey | undefined): void {
    if (unique !== undefined) this.#put(unique, keyRow(id, unique, this.#model.now));
  }

  /** @returns whether a finished job may be run again: unless another one holds its key, it holds it again */
  takeBack({ id, spec: { unique } }: ModelJob): boolean {
    if (unique === undefined || unique.while === null) return true;
    const holder = this.heldBy(unique);
    if (holder !== undefined && holder.id !== id) return false;
    const own = this.#rows.get(nameOf(unique))?.row;
    if (own?.id !== id) this.#put(unique, { id, while: unique.while });
    return true;
  }

  /** What the last job of the key left to the next that asks for it. */
  inheritance(unique: UniqueKey | undefined): Pick<ModelJob, "checkpoint" | "handedOn"> {
    const row = unique?.inherit === true ? this.#rows.get(nameOf(unique))?.row : undefined;
    const before = row === undefined ? undefined : this.#model.find(row.id);
    if (before === undefined || !isFinal(before.head.state)) return { checkpoint: {} };
    const { handedOn } = before;
    before.handedOn = true;
    return { checkpoint: { ...before.checkpoint }, ...(handedOn === undefined ? {} : { handedOn }) };
  }

  ended({ id, spec: { unique } }: ModelJob): void {
    if (unique === undefined || unique.inherit === true) return;
    this.#free(id, unique, false);
  }

  gone({ id, spec: { unique } }: ModelJob, byHand: boolean): void {
    if (unique !== undefined) this.#free(id, unique, byHand);
  }

  /** Keys of a scope that are held, in order of their names. A time that is over says nothing. */
  held(scope: string): HeldKey[] {
    const rows = [...this.#rows.values()].filter((one) => one.scope === scope && this.#isHeld(one.row));
    return rows
      .map(({ key, row }) => ({
        key,
        id: row.id,
        ...(isHeldByTime(row, this.#model.now) ? { until: row.until } : {}),
      }))
      .toSorted((a, b) => (a.key < b.key ? -1 : 1)) as HeldKey[];
  }

  /** What must hold after every call: no two jobs live of which each holds the same key until its end. */
  check(): void {
    const seen = new Set<string>();
    for (const { id, head, spec } of this.#model.jobs) {
      if (spec.unique?.while !== "live" || isFinal(head.state)) continue;
      const name = nameOf(spec.unique);
      assert.ok(!seen.has(name), `Job ${id} lives beside another one of its key ${name}.`);
      seen.add(name);
    }
  }

  #isHeld(row: KeyRow): boolean {
    const job = this.#model.find(row.id);
    return isHeld(row, job && stateOf(job), this.#model.now);
  }

  #put({ scope, key }: UniqueKey, row: KeyRow): void {
    this.#rows.set(nameOf({ scope, key }), { scope, key, row });
  }

  #free(id: JobId, unique: UniqueKey, byHand: boolean): void {
    const row = this.#rows.get(nameOf(unique))?.row;
    if (row?.id !== id || (!byHand && isHeldByTime(row, this.#model.now))) return;
    this.#rows.delete(nameOf(unique));
  }
}

function nameOf({ scope, key }: Pick<UniqueKey, "scope" | "key">): string {
  return JSON.stringify([scope, key]);
}
