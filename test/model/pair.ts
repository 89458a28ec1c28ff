import assert from "node:assert/strict";
import type { JobId } from "../../src/job/job.ts";
import type { Lease, NewJob, Storage, StoredSchedule } from "../../src/storage/storage.ts";
import type { TestClock } from "../../src/testing/test-clock.ts";
import type { Coverage, ModelEvent } from "./coverage.ts";
import type { Model } from "./model.ts";

/** What an engine is given: time that stands still until a command moves it. */
export interface Time {
  readonly clock: TestClock;
  readonly liveness: () => number;
}

/** Makes a storage. Called again with the same folder, it opens the same store. */
export type MakeStorage = (time: Time, folder: () => string) => Storage | Promise<Storage>;

/** A lease that was given at some time in the run, whatever became of it; its id is the model's. */
export interface KnownLease {
  readonly lease: Lease;
  readonly processId: string;
}

/** An engine and the model beside it, with what both need to be asked the same. */
export class Pair {
  storage: Storage;
  readonly model: Model;
  readonly time: Time;
  readonly coverage: Coverage<ModelEvent>;
  /** Closes the storage and opens it again; absent where a store dies with its process. */
  readonly reopen: (() => Promise<Storage>) | undefined;
  readonly leases: KnownLease[] = [];
  /** Leases that ended a run once, by {@link leaseKey}. */
  readonly spent: Set<string> = new Set();
  /** The process now in each of three places; a lost one is followed by one with a new id. */
  readonly slots: string[] = ["p0.0", "p1.0", "p2.0"];
  /** Jobs whose checkpoint was dropped when they ended. */
  readonly dropped: Set<JobId> = new Set();
  /** The name and given id of every job that has one. */
  readonly givenOf: Map<JobId, string> = new Map();
  /** Batch ids that were forgotten for sure. */
  readonly forgotten: Set<string> = new Set();
  readonly batchGroups: Map<string, readonly (readonly NewJob[])[]> = new Map();
  readonly batchNames: Map<number, number> = new Map();
  steps = 0;
  #unique = 0;
  // Engines may leave gaps between ids, the model leaves none.
  readonly #realIds: Map<JobId, JobId> = new Map();
  readonly #modelIds: Map<JobId, JobId> = new Map();
  readonly #realRevisions: Map<number, number> = new Map();

  constructor(
    storage: Storage,
    model: Model,
    time: Time,
    coverage: Coverage<ModelEvent>,
    reopen?: () => Promise<Storage>,
  ) {
    this.storage = storage;
    this.model = model;
    this.time = time;
    this.coverage = coverage;
    this.reopen = reopen;
  }

  /** A number no one else has in this run. */
  unique(): number {
    this.#unique += 1;
    return this.#unique;
  }

  token(processId: string): string {
    return `${processId}/${this.unique()}`;
  }

  /** The engine's id of a job; one that never was for a job that the model does not know. */
  real(id: JobId): JobId {
    return this.#realIds.get(id) ?? 1_000_000_000 + id;
  }

  modelId(real: JobId): JobId {
    const id = this.#modelIds.get(real);
    assert.ok(id !== undefined, `The engine answered job ${real}, which was never stored.`);
    return id;
  }

  /** Note that both stored the same job. Ids must grow in input order. */
  bind(id: JobId, real: JobId): void {
    const bound = this.#realIds.get(id);
    if (bound !== undefined) return assert.equal(real, bound, `Job ${bound} was answered with another id.`);
    for (const [other, otherReal] of this.#realIds) {
      assert.equal(other < id, otherReal < real, `Ids grow in input order: ${otherReal} and ${real} do not.`);
    }
    this.#realIds.set(id, real);
    this.#modelIds.set(real, id);
  }

  /** Every job ever stored, by the model's id. */
  get knownIds(): JobId[] {
    return [...this.#realIds.keys()];
  }

  realLease(lease: Lease): Lease {
    return { ...lease, id: this.real(lease.id) };
  }

  /** Note that both wrote the same schedule. The engine gives no revision twice. */
  bindRevision(revision: number, real: number): void {
    const isNew = real > 0 && ![...this.#realRevisions.values()].includes(real);
    assert.ok(isNew, `Revision ${real} of a schedule was given before.`);
    this.#realRevisions.set(revision, real);
  }

  /** The engine's revision; one that never was for one that the model does not know. */
  realRevision(revision: number): number {
    return revision === 0 ? 0 : (this.#realRevisions.get(revision) ?? 1_000_000_000 + revision);
  }

  /** A schedule as the engine tells it, with the model's revision and job. */
  fromRealSchedule({ lastId, revision: real, ...one }: StoredSchedule): StoredSchedule {
    const revision = [...this.#realRevisions].find(([, known]) => known === real)?.[0];
    assert.ok(revision !== undefined, `The engine answered revision ${real}, which it never gave.`);
    return { ...one, revision, ...(lastId === undefined ? {} : { lastId: this.modelId(lastId) }) };
  }

  /** Anything the engine answered about one job, with the model's id. */
  fromReal<T extends { readonly id: JobId }>(value: T): T {
    return { ...value, id: this.modelId(value.id) };
  }
}

export function leaseKey({ id, generation, token }: Lease): string {
  return `${id} ${generation} ${token}`;
}
