import assert from "node:assert/strict";
import type { LimitKey } from "../../src/job/key.ts";
import { isSameLimit } from "../../src/job/key.ts";
import { promoteHead } from "../../src/job/lifecycle.ts";
import { type ModelJob, stateOf } from "./model-job.ts";

/** The rules of limit keys over plain lists: who runs, who stands in line, and who is blocked behind them. */
export class LimitKeys {
  readonly #model: { readonly jobs: readonly ModelJob[] };

  constructor(model: { readonly jobs: readonly ModelJob[] }) {
    this.#model = model;
  }

  /** Whether one more of its key may stand in line in its lane. */
  hasRoom(job: ModelJob): boolean {
    const { limit } = job.spec;
    return limit === undefined || this.#taken(limit, job) < limit.concurrency;
  }

  /** Whether one more of the key may run. */
  mayRun(limit: LimitKey | undefined): boolean {
    return limit === undefined || this.#running(limit) < limit.concurrency;
  }

  /** Something of the key has ended, or left the line: in each lane the best that are blocked come in. */
  admit(limit: LimitKey | undefined): void {
    if (limit === undefined) return;
    const blocked = this.#model.jobs.filter(
      (job) => stateOf(job) === "blocked" && isSameLimit(job.spec.limit, limit),
    );
    for (const lane of new Set(blocked.map(laneOf))) {
      for (const job of blocked.filter((one) => laneOf(one) === lane).toSorted(byPlace)) {
        if (!this.hasRoom(job)) break;
        job.head = promoteHead(job.head);
      }
    }
  }

  /** What must hold after every call, of keys whose jobs all say the same concurrency. */
  check(): void {
    const seen = new Set<string>();
    for (const job of this.#model.jobs) {
      const { limit } = job.spec;
      if (limit === undefined) continue;
      const state = stateOf(job);
      const what = JSON.stringify([limit, state, state === "blocked" && laneOf(job)]);
      // Once for each key, and once for each lane in which some of it are blocked.
      if (seen.has(what)) continue;
      seen.add(what);
      const isExceeded = state === "running" && this.#running(limit) > limit.concurrency;
      assert.ok(
        !isExceeded,
        `More than ${limit.concurrency} jobs of ${limit.key} run, job ${job.id} among them.`,
      );
      assert.ok(state !== "blocked" || !this.hasRoom(job), `Job ${job.id} is stuck: ${limit.key} has room.`);
    }
  }

  #taken(limit: LimitKey, job: ModelJob): number {
    const ready = this.#of(limit).filter(
      (one) => stateOf(one) === "available" && laneOf(one) === laneOf(job),
    );
    return this.#running(limit) + ready.length;
  }

  #running(limit: LimitKey): number {
    return this.#of(limit).filter((job) => job.held !== undefined).length;
  }

  #of(limit: LimitKey): ModelJob[] {
    return this.#model.jobs.filter((job) => isSameLimit(job.spec.limit, limit));
  }
}

/** The order of a line: by priority, then in the order of becoming available. */
export function byPlace(a: ModelJob, b: ModelJob): number {
  return a.head.priority - b.head.priority || a.seq - b.seq;
}

function laneOf({ spec }: ModelJob): string {
  return `${spec.queue} ${spec.name}`;
}
