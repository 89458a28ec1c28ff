import { AssertionError } from "node:assert";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connect,
  defineJob,
  implement,
  InvalidOptionError,
  type Jobs,
  json,
  silentLogger,
} from "../index.ts";
import { assertEnqueued, refuteEnqueued } from "./assert-enqueued.ts";
import { matches } from "./partial-match.ts";
import { runUntilIdle } from "./run-until-idle.ts";
import { TestClock } from "./test-clock.ts";

interface Order {
  readonly orderId: number;
  readonly to?: { readonly name: string; readonly tags?: readonly string[] };
}

const receipt = defineJob({ name: "receipt", payload: json<Order>(), run: () => 1 });
const other = defineJob({ name: "other", run: () => 1 });

let jobs: Jobs;
beforeEach(async () => {
  jobs = await connect("memory:", { clock: new TestClock(), logger: silentLogger });
});
afterEach(() => jobs.close());

/** The failure that this must end with. */
async function failure(made: Promise<unknown>): Promise<AssertionError> {
  const error = await made.then(
    () => new Error("It did not fail."),
    (thrown: unknown) => thrown,
  );
  if (error instanceof AssertionError) return error;
  throw error;
}

describe("assertEnqueued", () => {
  it("answers the jobs whose payload has what is expected, in their order", async () => {
    await jobs.enqueue(receipt, { orderId: 7, to: { name: "ann", tags: ["a", "b"] } });
    await jobs.enqueue(receipt, { orderId: 8, to: { name: "bob" } }, { in: "1h" });
    await jobs.enqueue(receipt, { orderId: 7 });
    await jobs.enqueue(other, { orderId: 7 });
    const ids = async (...args: Parameters<typeof assertEnqueued<typeof receipt>>): Promise<string[]> =>
      (await assertEnqueued(...args)).map(({ id }) => id);
    expect(await ids(jobs, receipt)).toEqual(["1", "2", "3"]);
    expect(await ids(jobs, receipt, { orderId: 7 })).toEqual(["1", "3"]);
    expect(await ids(jobs, receipt, { to: { name: "ann" } })).toEqual(["1"]);
    expect(await ids(jobs, receipt, { to: { tags: ["a", expect.any(String)] } })).toEqual(["1"]);
    expect(await ids(jobs, receipt, { orderId: 7, to: undefined })).toEqual(["3"]);
    const [found] = await assertEnqueued(jobs, receipt, { orderId: 8 });
    expect(found?.payload.to?.name).toBe("bob");
    // @ts-expect-error a number is no text, and no order has a price
    await failure(assertEnqueued(jobs, receipt, { orderId: "7", price: 1 }));
  });

  it("asks for a number of them, a queue, a tag, a priority and a start, when told to", async () => {
    const runAt = new Date("2030-01-01T01:00:00Z");
    const options = { queue: "mail", tags: ["x", "y"], priority: 3, in: "1h" } as const;
    await jobs.enqueue(receipt, { orderId: 1 }, options);
    await jobs.enqueue(receipt, { orderId: 1 });
    const all = { queue: "mail", tag: "y", priority: 3, runAt };
    expect(await assertEnqueued(jobs, receipt, undefined, { count: 2 })).toHaveLength(2);
    expect(await assertEnqueued(jobs, receipt, { orderId: 1 }, { count: 1, ...all })).toHaveLength(1);
    for (const wrong of [{ queue: "x" }, { tag: "z" }, { priority: 0 }, { runAt: new Date(0) }]) {
      await failure(assertEnqueued(jobs, receipt, { orderId: 1 }, { ...all, ...wrong }));
      await refuteEnqueued(jobs, receipt, { orderId: 1 }, { ...all, ...wrong });
    }
    for (const count of [1, 3]) await failure(assertEnqueued(jobs, receipt, undefined, { count }));
  });

  it("sees jobs that wait or run, and those that have ended only when asked", async () => {
    let whileItRan: unknown;
    const looking = defineJob({ name: "looking" });
    const looks = implement(looking, async () => {
      whileItRan = (await assertEnqueued(jobs, looking)).map(({ state }) => state);
    });
    await jobs.enqueue(looking);
    await runUntilIdle(jobs.worker([looks]));
    expect(whileItRan).toEqual(["running"]);
    await refuteEnqueued(jobs, looking);
    await assertEnqueued(jobs, looking, undefined, { finished: true });
    await failure(refuteEnqueued(jobs, looking, undefined, { finished: true }));
  });

  it("finds one among thousands", async () => {
    await jobs.enqueueMany(
      receipt,
      Array.from({ length: 2_500 }, (_, orderId) => ({ orderId })),
    );
    expect(await assertEnqueued(jobs, receipt, { orderId: 2_499 }, { count: 1 })).toHaveLength(1);
  });

  it("says what is there instead, so that a test runner shows the difference", async () => {
    const missing = failure(assertEnqueued(jobs, receipt, { orderId: 7 }, { queue: "mail" }));
    expect((await missing).message).toBe(
      'Expected a job "receipt" with a payload like {"orderId":7} with queue "mail" that waits or runs.\n' +
        "Nothing is stored at all.",
    );
    await jobs.enqueue(other);
    expect((await failure(assertEnqueued(jobs, receipt))).message).toBe(
      'Expected a job "receipt" that waits or runs.\n' +
        'None of this name is there. Stored, ended ones included: 1 × "other".',
    );
    await jobs.enqueue(receipt, { orderId: 8 }, { in: "1h", priority: 2, tags: ["t"] });
    const error = await failure(assertEnqueued(jobs, receipt, { orderId: 7 }, { count: 2 }));
    expect(error.message).toBe(
      'Expected 2 jobs "receipt" with a payload like {"orderId":7} that waits or runs.\n' +
        "None matches. Of this name there is:\n" +
        '  job 2, scheduled, queue "default", for 2030-01-01T01:00:00.000Z, priority 2, tags "t": {"orderId":8}',
    );
    expect(error).toMatchObject({
      ...{ code: "ERR_ASSERTION", operator: "assertEnqueued" },
      ...{ actual: [{ orderId: 8 }], expected: [{ orderId: 7 }, { orderId: 7 }] },
    });
    const refuted = await failure(refuteEnqueued(jobs, receipt));
    expect(refuted.message).toMatch(
      /^Expected no job "receipt" that waits or runs\.\nThere is:\n {2}job 2, /,
    );
  });

  it("keeps its message short, whatever is there", async () => {
    await jobs.enqueueMany(
      receipt,
      Array.from({ length: 50 }, (_, orderId) => ({ orderId, to: { name: "x".repeat(10_000) } })),
    );
    const { message } = await failure(refuteEnqueued(jobs, receipt));
    expect(message.length).toBeLessThan(4_000);
    expect(message).toMatch(/ {2}… and 40 more$/);
  });

  it("refuses what makes no sense", async () => {
    for (const options of [{ count: 0 }, { count: 1.5 }, { states: ["dead"] }]) {
      await expect(assertEnqueued(jobs, receipt, {}, options)).rejects.toThrow(InvalidOptionError);
    }
    await expect(refuteEnqueued(jobs, receipt, {}, { count: 1 } as never)).rejects.toThrow(
      InvalidOptionError,
    );
    await expect(assertEnqueued(jobs, "receipt" as never)).rejects.toThrow(InvalidOptionError);
  });
});

describe("matches", () => {
  it.each([
    [{ a: 1, b: 2 }, { a: 1 }, true],
    [{ a: 1 }, { a: 1, b: undefined }, true],
    [{ a: 1, b: null }, { b: undefined }, false],
    [{ a: { b: [{ c: 1, d: 2 }] } }, { a: { b: [{ c: 1 }] } }, true],
    [[1, 2], [1], false],
    [[1, 2], [1, 2], true],
    [{ 0: 1 }, [1], false],
    [[1], { 0: 1 }, false],
    [null, {}, false],
    [null, null, true],
    ["a", "a", true],
    ["a", {}, false],
    [1, "1", false],
    [{}, { toString: Object.prototype.toString }, false],
  ])("%j has %j: %s", (actual, expected, answer) => {
    expect(matches(actual, expected)).toBe(answer);
  });
});
