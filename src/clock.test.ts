import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from "vitest";
import { monotonicMs, systemClock } from "./clock.ts";

const START = Date.UTC(2030, 0, 1);
const DAY_MS = 86_400_000;

let timeouts: MockInstance<typeof setTimeout>;

beforeEach(() => {
  vi.useFakeTimers({ now: START, toFake: ["setTimeout", "clearTimeout", "Date"] });
  const real = globalThis.setTimeout;
  timeouts = vi.spyOn(globalThis, "setTimeout");
  timeouts.mockImplementation(((fire: () => void, delay?: number) => {
    // A spin would keep a test busy for ever instead of failing it.
    if (timeouts.mock.calls.length > 20) throw new Error("The clock spins.");
    return real(fire, delay);
  }) as typeof setTimeout);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("systemClock", () => {
  test("now is the machine's time", () => {
    expect(systemClock.now()).toBe(START);
    vi.setSystemTime(START + 5);
    expect(systemClock.now()).toBe(START + 5);
  });

  test("fires once, at its time and not before", () => {
    const fire = vi.fn<() => void>();
    systemClock.at(START + 1_000, fire);
    vi.advanceTimersByTime(999);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fire).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(10 * DAY_MS);
    expect(fire).toHaveBeenCalledTimes(1);
  });

  test.each([0, -1, -DAY_MS])("an instant %i ms from now fires at once, but never within the call", (ms) => {
    const fire = vi.fn<() => void>();
    systemClock.at(START + ms, fire);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fire).toHaveBeenCalledTimes(1);
  });

  // setTimeout turns any delay above 2^31 − 1 ms into 1 ms: such a timer fires at once, or spins.
  test("an instant 60 days away is waited for in few steps, without a spin", () => {
    const fire = vi.fn<() => void>();
    systemClock.at(START + 60 * DAY_MS, fire);
    vi.advanceTimersByTime(1_000);
    expect(fire).not.toHaveBeenCalled();
    expect(timeouts).toHaveBeenCalledTimes(1);
    for (const [, delay] of timeouts.mock.calls) expect(delay).toBeLessThanOrEqual(2 ** 31 - 1);
    vi.advanceTimersByTime(60 * DAY_MS - 1_001);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fire).toHaveBeenCalledTimes(1);
    expect(timeouts).toHaveBeenCalledTimes(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a wall clock set back while waiting does not make it early", () => {
    const fire = vi.fn<() => void>();
    systemClock.at(START + 1_000, fire);
    vi.advanceTimersByTime(500);
    vi.setSystemTime(START - DAY_MS);
    vi.advanceTimersByTime(DAY_MS);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(fire).toHaveBeenCalledTimes(1);
  });

  test("a cancelled timer never fires, in its first step or a later one", () => {
    const fire = vi.fn<() => void>();
    const near = systemClock.at(START + 1_000, fire);
    near.cancel();
    const far = systemClock.at(START + 60 * DAY_MS, fire);
    vi.advanceTimersByTime(30 * DAY_MS);
    expect(vi.getTimerCount()).toBe(1);
    far.cancel();
    far.cancel();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(60 * DAY_MS);
    expect(fire).not.toHaveBeenCalled();
  });

  test("a timer keeps the process alive only when asked to, in every step", () => {
    systemClock.at(START + 60 * DAY_MS, () => {});
    systemClock.at(START + 60 * DAY_MS, () => {}, true);
    vi.advanceTimersByTime(30 * DAY_MS);
    const alive = timeouts.mock.results.map(({ value }) => (value as NodeJS.Timeout).hasRef());
    expect(alive).toEqual([false, true, false, true]);
  });
});

test("monotonicMs grows, in ms, whatever the wall clock does", () => {
  const first = monotonicMs();
  vi.setSystemTime(START - 365 * DAY_MS);
  const [seconds, nanoseconds] = process.hrtime();
  const second = monotonicMs();
  expect(second).toBeGreaterThanOrEqual(first);
  // It is the kernel's clock that all processes of a machine share, not one of this process.
  expect(second).toBeGreaterThanOrEqual(seconds * 1_000 + nanoseconds / 1e6);
  expect(second - (seconds * 1_000 + nanoseconds / 1e6)).toBeLessThan(60_000);
});
