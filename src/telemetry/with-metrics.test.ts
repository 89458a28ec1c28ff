import { describe, expect, it } from "vitest";
import { StorageClosedError } from "../errors.ts";
import { MemoryStorage } from "../storage/memory/index.ts";
import { prometheusSink, type StorageCall, withMetrics } from "./with-metrics.ts";

/** What is timed differs from run to run. */
function timeless({ durationMs, ...call }: StorageCall): Omit<StorageCall, "durationMs"> {
  expect(durationMs).toBeGreaterThanOrEqual(0);
  return call;
}

describe("withMetrics", () => {
  it("measures every call, failed and synchronous ones too, and changes no answer", async () => {
    const calls: StorageCall[] = [];
    const real = new MemoryStorage();
    const storage = withMetrics(real, { called: (call) => void calls.push(call) });
    expect(storage.label).toBe(real.label);
    expect(storage.clock).toBe(real.clock);
    expect(storage).toBeInstanceOf(MemoryStorage);
    await storage.open();
    expect(await storage.get([1, 2])).toEqual([undefined, undefined]);
    // Told when it has answered, which a call that is not awaited does at once.
    storage.watch({ processId: "p" } as never, () => undefined)();
    await storage.close();
    const error = await storage.get([1]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageClosedError);
    expect(calls.map(timeless)).toEqual([
      { method: "open" },
      { method: "get", size: 2 },
      { method: "watch" },
      { method: "close" },
      { method: "get", size: 1, error },
    ]);
  });

  it("takes methods that are not invented yet, and lets no sink do harm", async () => {
    const real = Object.assign(new MemoryStorage(), {
      invented(): string {
        throw new RangeError("not yet");
      },
      later: (n: number) => Promise.resolve(n + 1),
    });
    const methods: string[] = [];
    const storage = withMetrics(real, {
      called({ method }) {
        methods.push(method);
        throw new Error("the sink is full");
      },
    });
    expect(() => storage.invented()).toThrow(new RangeError("not yet"));
    expect(await storage.later(1)).toBe(2);
    expect(storage.later).toBe(storage.later);
    expect(methods).toEqual(["invented", "later"]);
  });
});

describe("prometheusSink", () => {
  it("shows calls, errors and time by method", () => {
    const sink = prometheusSink();
    sink.called({ method: "get", durationMs: 250 });
    sink.called({ method: "get", durationMs: 750, error: undefined });
    sink.called({ method: "settle", durationMs: 1 });
    expect(sink.text()).toBe(
      [
        "# HELP jobwright_storage_calls_total Calls of the storage, by method.",
        "# TYPE jobwright_storage_calls_total counter",
        'jobwright_storage_calls_total{method="get"} 2',
        'jobwright_storage_calls_total{method="settle"} 1',
        "# HELP jobwright_storage_errors_total Calls that failed, by method.",
        "# TYPE jobwright_storage_errors_total counter",
        'jobwright_storage_errors_total{method="get"} 1',
        'jobwright_storage_errors_total{method="settle"} 0',
        "# HELP jobwright_storage_seconds_total Time that calls took, by method.",
        "# TYPE jobwright_storage_seconds_total counter",
        'jobwright_storage_seconds_total{method="get"} 1',
        'jobwright_storage_seconds_total{method="settle"} 0.001',
        "",
      ].join("\n"),
    );
  });
});
