// Goal: an OrderedJobs is a sorted list, whatever is done to it.
// Method: random commands beside a plain sorted array, with enough jobs to split, skip and drop chunks.
import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newHead } from "../../job/lifecycle.ts";
import { KeptJob } from "./kept-job.ts";
import { Lane, Queue } from "./lane.ts";
import { byPlace, OrderedJobs } from "./ordered-jobs.ts";

const lane = new Lane(new Queue("q"), "a");
const spec = {
  ...{ name: "a", queue: "q", payload: "1", maxRetries: 0, backoff: { kind: "fixed", delayMs: 0 } as const },
  ...{ timeoutMs: null, retention: { completedMs: 0, cancelledMs: 0, deadMs: 0 }, tags: [], priority: 0 },
};

function job(id: number, at: number): KeptJob {
  const kept = new KeptJob(id, spec, lane, newHead({ priority: 0 }, 0, 0), 0);
  kept.at = at;
  kept.place = id;
  return kept;
}

/** By identity and with a short message: the jobs have everything behind them. */
function same(actual: readonly KeptJob[], expected: readonly KeptJob[]): void {
  const differs = expected.findIndex((one, index) => actual[index] !== one);
  assert.deepEqual([actual.length, differs], [expected.length, -1]);
}

/** Each stands for a burst of one kind, so that lists grow over many chunks and shrink again. */
const burst = fc.record({
  kind: fc.constantFrom("append", "insert", "shift", "delete", "back", "missing"),
  times: fc.integer({ min: 1, max: 700 }),
  seed: fc.integer({ min: 0, max: 1_000_000 }),
});

describe("OrderedJobs", () => {
  it("is a sorted list", () => {
    let mostJobs = 0;
    fc.assert(
      fc.property(fc.array(burst, { minLength: 1, maxLength: 20 }), (bursts) => {
        const list = new OrderedJobs(byPlace);
        const model: KeptJob[] = [];
        const taken: KeptJob[] = [];
        let id = 0;
        const add = (kept: KeptJob): void => {
          const index = model.findIndex((other) => byPlace(kept, other));
          model.splice(index === -1 ? model.length : index, 0, kept);
          list.insert(kept);
        };
        for (const { kind, times, seed } of bursts) {
          for (let n = 0; n < times; n++) {
            const pick = (seed + n * 7_919) % Math.max(1, model.length);
            if (kind === "append") add(job(++id, 1_000 + id));
            if (kind === "insert") add(job(++id, (seed + n * 7_919) % 5_000));
            if (kind === "shift") {
              const first = model.shift();
              assert.equal(list.shift(), first);
              if (first !== undefined) taken.push(first);
            }
            const last = kind === "back" ? taken.pop() : undefined;
            if (last !== undefined) add(last);
            const victim = model[pick];
            if (kind === "delete" && victim !== undefined) {
              model.splice(pick, 1);
              assert.equal(list.delete(victim), true);
              assert.equal(list.delete(victim), false);
            }
            if (kind === "missing") assert.equal(list.delete(job(++id, seed % 5_000)), false);
            assert.equal(list.size, model.length);
            assert.equal(list.first(), model[0]);
          }
          mostJobs = Math.max(mostJobs, model.length);
          same([...list.upwards()], model);
          same([...list.downwards()], [...model].reverse());
          // A page may begin at a job that is there, beside one, and beyond both ends.
          for (const at of [-1, 0, seed % 5_000, 1_000 + id, 9_999_999]) {
            const place = { at, place: seed % (id + 1) };
            const behind = model.filter((one) => one.at > at || (one.at === at && one.place > place.place));
            const ahead = model.filter((one) => one.at < at || (one.at === at && one.place < place.place));
            same([...list.upwards(place)], behind);
            same([...list.downwards(place)], ahead.reverse());
          }
          const middle = model[model.length >>> 1];
          if (middle !== undefined) {
            same([...list.upwards(middle)], model.slice((model.length >>> 1) + 1));
            same([...list.downwards(middle)], model.slice(0, model.length >>> 1).reverse());
          }
        }
      }),
      { numRuns: 60 },
    );
    // Otherwise the commands were too tame to mean anything.
    expect(mostJobs).toBeGreaterThan(1_000);
  });

  it("is empty at first and after its last job", () => {
    const list = new OrderedJobs(byPlace);
    expect([list.first(), list.shift(), list.size, [...list.upwards()]]).toEqual([
      undefined,
      undefined,
      0,
      [],
    ]);
    const one = job(1, 1);
    expect(list.delete(one)).toBe(false);
    list.insert(one);
    expect(list.shift()).toBe(one);
    expect([list.first(), list.size, [...list.downwards()]]).toEqual([undefined, 0, []]);
  });
});
