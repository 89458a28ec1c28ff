// What the contract does not show of unique keys: that rows which hold nothing are forgotten.
import { describe, expect, it } from "vitest";
import type { JobId } from "../../job/job.ts";
import type { UniqueKey } from "../../job/key.ts";
import { newHead } from "../../job/lifecycle.ts";
import type { NewJob } from "../storage.ts";
import { KeptJob } from "./kept-job.ts";
import { Lane, Queue } from "./lane.ts";
import { UniqueKeys } from "./unique-keys.ts";

const lane = new Lane(new Queue("q"), "a");

function unique(key: string, more: Partial<UniqueKey> = {}): UniqueKey {
  return { scope: "a", key, while: "live", onConflict: "keep", ...more };
}

function job(id: JobId, key: UniqueKey): KeptJob {
  const spec: NewJob = {
    ...{ name: "a", queue: "q", payload: "1", maxRetries: 0, backoff: { kind: "fixed", delayMs: 0 } },
    ...{ timeoutMs: null, retention: { completedMs: 0, cancelledMs: 0, deadMs: 0 }, tags: [], priority: 0 },
    unique: key,
  };
  return new KeptJob(id, spec, lane, newHead(spec, 0, 0), 0);
}

/** Keys of which each was taken by a job of its own. */
function taken(keys: readonly UniqueKey[], now: number): { jobs: Map<JobId, KeptJob>; all: UniqueKeys } {
  const jobs = new Map<JobId, KeptJob>();
  const all = new UniqueKeys(jobs);
  for (const [index, key] of keys.entries()) {
    jobs.set(index + 1, job(index + 1, key));
    all.take(index + 1, key, now);
  }
  return { jobs, all };
}

describe("UniqueKeys", () => {
  it("forgets what only time held when the time is over, in any order of times", () => {
    const times = [70, 10, 50, 30, 20];
    const timed = times.map((forMs) => unique(`${forMs}`, { forMs }));
    const ever = unique("ever", { forMs: null });
    const { jobs, all } = taken([...timed, ever], 0);
    for (const kept of jobs.values()) all.ended(kept, 0);
    jobs.clear();
    for (const now of [9, 10, 29, 55, 1_000]) {
      all.forgetOld(now);
      const left = timed.filter((key) => all.row(key) !== undefined).map(({ key }) => Number(key));
      expect(left).toEqual(times.filter((until) => until > now));
    }
    expect(all.row(ever)).toMatchObject({ id: 6, until: null });
  });

  it("keeps the row of a job that lives, or of a finished one that may leave something to an heir", () => {
    const live = unique("live", { forMs: 10 });
    const heir = unique("heir", { forMs: 10, inherit: true });
    const { jobs, all } = taken([live, heir], 0);
    all.ended(jobs.get(2) as KeptJob, 5);
    all.forgetOld(10);
    expect([all.row(live)?.id, all.row(heir)?.id]).toEqual([1, 2]);
    for (const kept of jobs.values()) all.gone(kept, 11, false);
    expect([all.row(live), all.row(heir)]).toEqual([undefined, undefined]);
  });

  it("does not forget a key that was taken anew meanwhile, for a longer time", () => {
    const key = unique("k", { while: null, forMs: 10 });
    const { jobs, all } = taken([key], 0);
    all.take(2, key, 8);
    jobs.clear();
    all.forgetOld(17);
    expect(all.row(key)).toMatchObject({ id: 2, until: 18 });
    all.forgetOld(18);
    expect(all.row(key)).toBeUndefined();
  });

  it("pages through the keys of a scope while most of those that came and went are forgotten", () => {
    const { jobs, all } = taken(
      Array.from({ length: 500 }, (_, n) => unique(`${n}`)),
      0,
    );
    const first = all.page({ scope: "a", limit: 3 }, 0);
    expect(first.keys.map(({ key }) => key)).toEqual(["0", "1", "2"]);
    for (const kept of jobs.values()) if (kept.id % 100 !== 0) all.ended(kept, 0);
    const rest = all.page({ scope: "a", limit: 9, after: first.next ?? "" }, 0);
    expect(rest).toEqual({ keys: [100, 200, 300, 400, 500].map((id) => ({ key: `${id - 1}`, id })) });
  });
});
