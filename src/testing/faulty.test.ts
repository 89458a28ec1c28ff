import { describe, expect, it, vi } from "vitest";
import { connect, defineJob, InvalidOptionError, silentLogger, StorageUnavailableError } from "../index.ts";
import { MemoryStorage } from "../storage/memory/index.ts";
import type { NewJob, Storage } from "../storage/storage.ts";
import { transactional } from "../storage/transactional.ts";
import { faulty } from "./faulty.ts";
import type { FaultKind } from "./fault-plan.ts";
import { runUntilIdle } from "./run-until-idle.ts";

const JOB: NewJob = {
  ...{ name: "a", queue: "q", payload: "1", priority: 0, maxRetries: 0, timeoutMs: null, tags: [] },
  backoff: { kind: "fixed", delayMs: 0 },
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
};

/** Every call answered, in order: `ok`, or its error. */
async function outcomes(storage: Storage, calls: number): Promise<string[]> {
  const seen: string[] = [];
  for (let n = 0; n < calls; n += 1) {
    seen.push(
      await storage.count({}).then(
        () => "ok",
        (error: unknown) => (error as Error).message,
      ),
    );
  }
  return seen;
}

describe("faulty", () => {
  it("fails, loses and delays the calls that a function names", async () => {
    const plan: Record<string, FaultKind> = {
      "enqueue 1": "fail",
      "enqueue 2": "lose",
      "enqueue 3": "delay",
    };
    const real = new MemoryStorage();
    const storage = faulty(real, ({ method, n }) => plan[`${method} ${n}`]);
    const stored = async (): Promise<number> => (await real.count({})).n;
    const first = storage.enqueue([[JOB]]);
    await expect(first).rejects.toThrow(StorageUnavailableError);
    await expect(first).rejects.toThrow("Call 1 of enqueue was not made");
    expect(await stored()).toBe(0);
    await expect(storage.enqueue([[JOB]])).rejects.toThrow(
      "Call 2 of enqueue was made, but its answer is lost",
    );
    expect(await stored()).toBe(1);
    const late = storage.enqueue([[JOB]]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await stored()).toBe(1);
    expect(await late).toEqual([{ ok: true, jobs: [{ status: "created", id: 2 }] }]);
    expect(await storage.enqueue([[JOB]])).toHaveLength(1);
    expect(storage.faults.counts).toEqual({ failed: 1, lost: 1, delayed: 1 });
    expect([storage.faults.calls("enqueue"), storage.faults.calls("claim")]).toEqual([4, 0]);
    expect(storage.faults.seed).toBeUndefined();
  });

  it("hands the plan what a call was made with", async () => {
    const storage = faulty(new MemoryStorage(), ({ method, args }) =>
      method === "get" && (args[0] as number[]).includes(7) ? "fail" : undefined,
    );
    expect(await storage.get([6])).toEqual([undefined]);
    await expect(storage.get([6, 7])).rejects.toThrow(StorageUnavailableError);
  });

  it("meets the same calls with the same faults for a seed, in whatever order methods are called", async () => {
    const made = (seed: number) => faulty(new MemoryStorage(), { seed, rates: { fail: 0.2, lose: 0.2 } });
    const first = await outcomes(made(7), 200);
    const mixed = made(7);
    const second: string[] = [];
    for (let n = 0; n < 200; n += 1) {
      await mixed.lanes().catch(() => undefined);
      second.push(...(await outcomes(mixed, 1)));
    }
    expect(second).toEqual(first);
    expect(await outcomes(made(8), 200)).not.toEqual(first);
    expect(first.find((text) => text !== "ok")).toMatch(/seed 7/);
  });

  it("hits as many calls as its rates say", async () => {
    const storage = faulty(new MemoryStorage(), {
      ...{ seed: 1, delay: 0 },
      rates: { fail: 0.1, lose: 0.2, delay: 0.3 },
    });
    await outcomes(storage, 2_000);
    const { failed, lost, delayed } = storage.faults.counts;
    // The seed is fixed, so this holds or it does not.
    for (const [n, rate] of [
      [failed, 0.1],
      [lost, 0.2],
      [delayed, 0.3],
    ] as const) {
      expect(Math.abs(n / 2_000 - rate)).toBeLessThan(0.05);
    }
    const none = faulty(new MemoryStorage(), { seed: 1, rates: { fail: 0, lose: 0, delay: 0, hints: 0 } });
    expect(new Set(await outcomes(none, 200))).toEqual(new Set(["ok"]));
  });

  it("loses hints, or lets them come late, and none after the watch has ended", async () => {
    const plan: (FaultKind | undefined)[] = [undefined, "fail", "lose", "delay", "delay"];
    const storage = faulty(new MemoryStorage(), ({ method, n }) =>
      method === "watch" ? plan[n - 1] : undefined,
    );
    let woken = 0;
    const unwatch = storage.watch({ available: [{ queue: "q" }] }, () => (woken += 1));
    const hinted = async (n: number): Promise<void> => {
      await storage.enqueue([[JOB]]);
      await vi.waitUntil(() => storage.faults.calls("watch") === n);
    };
    await hinted(1);
    expect(woken).toBe(1);
    await hinted(2);
    await hinted(3);
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(woken).toBe(1);
    await hinted(4);
    await vi.waitUntil(() => woken === 2);
    await hinted(5);
    unwatch();
    // Timers of one length fire in their order: the one of the hint, set before, has fired by then.
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(woken).toBe(2);
    expect(storage.faults.counts).toEqual({ failed: 0, lost: 2, delayed: 2 });
  });

  it("covers methods that no list names, those that answer at once too, and leaves out open and close", async () => {
    class Wide extends MemoryStorage {
      readonly done: string[] = [];
      async later(): Promise<string> {
        return this.#note("later");
      }
      nowSync(): string {
        return this.#note("now");
      }
      override async open(): Promise<void> {
        this.#note("open");
      }
      #note(what: string): string {
        this.done.push(what);
        return what;
      }
    }
    let fault: FaultKind = "fail";
    const real = new Wide();
    const storage = faulty(real, () => fault);
    await storage.open();
    await expect(storage.later()).rejects.toThrow(StorageUnavailableError);
    expect(() => storage.nowSync()).toThrow(StorageUnavailableError);
    expect(real.done).toEqual(["open"]);
    fault = "lose";
    await expect(storage.later()).rejects.toThrow(StorageUnavailableError);
    expect(() => storage.nowSync()).toThrow(StorageUnavailableError);
    fault = "delay";
    expect([storage.nowSync(), await storage.later()]).toEqual(["now", "later"]);
    expect(real.done).toEqual(["open", "later", "now", "now", "later"]);
    expect(storage.faults.counts).toEqual({ failed: 2, lost: 2, delayed: 1 });
    await storage.close();
    await expect(real.count({})).rejects.toThrow(/closed/);
  });

  it("is what the storage behind it is", async () => {
    const real = new MemoryStorage({ label: "mine" });
    const storage = faulty(real, { seed: 1 });
    expect([storage.label, storage.clock]).toEqual(["mine", real.clock]);
    expect(storage).toBeInstanceOf(MemoryStorage);
    expect("define" in storage || "enqueueIn" in storage).toBe(false);
    expect(() => transactional(storage, "jobs.in(tx)")).toThrow(/PostgreSQL/);
    const joining = Object.assign(new MemoryStorage(), {
      enqueueIn: async () => "stored",
      settleIn: async () => "settled",
    });
    const joins = transactional(
      faulty(joining, ({ n }) => (n === 1 ? "fail" : undefined)),
      "jobs.in(tx)",
    );
    await expect(joins.enqueueIn({}, [])).rejects.toThrow(StorageUnavailableError);
    expect(await joins.enqueueIn({}, [])).toBe("stored");
  });

  it("does no harm any more once it is healed", async () => {
    const storage = faulty(new MemoryStorage(), () => "fail");
    await expect(storage.count({})).rejects.toThrow(StorageUnavailableError);
    storage.faults.heal();
    expect(await outcomes(storage, 3)).toEqual(["ok", "ok", "ok"]);
    expect(storage.faults.counts.failed).toBe(1);
  });

  it("prints a seed that nobody gave", () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    try {
      const { faults } = faulty(new MemoryStorage());
      expect(write.mock.calls).toEqual([
        [`faulty: seed ${faults.seed} (again: faulty(storage, { seed: ${faults.seed} }))\n`],
      ]);
      faulty(new MemoryStorage(), { seed: 3 });
      faulty(new MemoryStorage(), () => undefined);
      expect(write).toHaveBeenCalledTimes(1);
    } finally {
      write.mockRestore();
    }
  });

  it("is a storage to connect to: an enqueue whose answer is lost is stored once", async () => {
    const storage = faulty(new MemoryStorage(), ({ method, n }) =>
      method === "enqueue" && n <= 2 ? "lose" : undefined,
    );
    await using jobs = await connect(storage, { logger: silentLogger, random: () => 0 });
    let runs = 0;
    const job = defineJob({ name: "counted", run: () => (runs += 1) });
    await jobs.enqueue(job);
    expect(await runUntilIdle(jobs.worker([job]))).toBe(1);
    expect([runs, storage.faults.calls("enqueue")]).toEqual([1, 3]);
  });

  it.each([
    ["a rate above one", { rates: { fail: 1.1 } }],
    ["rates above one together", { rates: { fail: 0.5, lose: 0.5, delay: 0.1 } }],
    ["a rate nobody knows", { rates: { lost: 0.1 } }],
    ["an option nobody knows", { rate: 0.1 }],
    ["a seed that is no integer", { seed: 0.5 }],
    ["a delay that is none", { delay: "soon" }],
    ["an hour of delay", { delay: "1h" }],
  ])("refuses %s", (_what, plan) => {
    expect(() => faulty(new MemoryStorage(), plan as never)).toThrow(InvalidOptionError);
  });

  it("refuses what is no storage, and a fault that nobody knows", async () => {
    expect(() => faulty("memory:" as never)).toThrow(InvalidOptionError);
    const storage = faulty(new MemoryStorage(), () => "explode" as never);
    await expect(storage.count({})).rejects.toThrow(InvalidOptionError);
  });
});
