import { describe, expect, it } from "vitest";
import { InvalidOptionError, StateError } from "../errors.ts";
import { TestClock } from "./test-clock.ts";

const START = Date.UTC(2030, 0, 1);

describe("TestClock", () => {
  it("stands still at its start until it is moved", async () => {
    const clock = new TestClock();
    expect(clock.now()).toBe(START);
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.now()).toBe(START);
    expect(new TestClock(new Date(5)).now()).toBe(5);
    expect(new TestClock(7).now()).toBe(7);
  });

  it("fires in order of time, then of arming, at the timer's own time", async () => {
    const clock = new TestClock(0);
    const fired: [string, number][] = [];
    const arm = (name: string, at: number): void => void clock.at(at, () => fired.push([name, clock.now()]));
    arm("c", 30);
    arm("a", 10);
    arm("b1", 20);
    arm("b2", 20);
    arm("late", 31);
    await clock.advance(30);
    expect(fired).toEqual([
      ["a", 10],
      ["b1", 20],
      ["b2", 20],
      ["c", 30],
    ]);
    expect(clock.now()).toBe(30);
    expect(clock.pending).toBe(1);
  });

  it("never fires before a timer's instant", async () => {
    const clock = new TestClock(0);
    let fired = 0;
    clock.at(1_000, () => fired++);
    await clock.advance(999);
    expect(fired).toBe(0);
    await clock.advance(1);
    expect(fired).toBe(1);
    await clock.advance("1d");
    expect(fired).toBe(1);
  });

  it("fires timers armed meanwhile that fall into the span, at their own time", async () => {
    const clock = new TestClock(0);
    const fired: number[] = [];
    const tick = (): void => {
      fired.push(clock.now());
      clock.at(clock.now() + 10, tick);
    };
    clock.at(10, tick);
    await clock.advance(35);
    expect(fired).toEqual([10, 20, 30]);
    expect(clock.now()).toBe(35);
  });

  it("lets the work a timer set off happen before time goes on", async () => {
    const clock = new TestClock(0);
    const seen: string[] = [];
    clock.at(10, () => {
      void (async () => {
        await Promise.resolve();
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(`work of 10 at ${clock.now()}`);
        clock.at(15, () => seen.push(`armed by work, at ${clock.now()}`));
      })();
    });
    clock.at(20, () => seen.push(`20 at ${clock.now()}`));
    await clock.advance(20);
    expect(seen).toEqual(["work of 10 at 10", "armed by work, at 15", "20 at 20"]);
  });

  it("fires all timers of an instant before the work of the first one goes on", async () => {
    const clock = new TestClock(0);
    const seen: string[] = [];
    for (const name of ["a", "b"]) {
      clock.at(10, () => {
        seen.push(name);
        void Promise.resolve().then(() => seen.push(`work of ${name}`));
      });
    }
    await clock.advance(10);
    expect(seen).toEqual(["a", "b", "work of a", "work of b"]);
  });

  it("sees timers that work already under way arms", async () => {
    const clock = new TestClock(0);
    let fired = false;
    void Promise.resolve().then(() => clock.at(5, () => (fired = true)));
    await clock.advance(5);
    expect(fired).toBe(true);
  });

  it("does not fire a cancelled timer, and cancelling twice or late is fine", async () => {
    const clock = new TestClock(0);
    let fired = 0;
    const first = clock.at(10, () => fired++);
    const second = clock.at(10, () => fired++);
    first.cancel();
    first.cancel();
    expect(clock.pending).toBe(1);
    await clock.advance(10);
    second.cancel();
    expect(fired).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it("lets a timer cancel another one of its instant", async () => {
    const clock = new TestClock(0);
    let fired = false;
    clock.at(10, () => second.cancel());
    const second = clock.at(10, () => (fired = true));
    await clock.advance(10);
    expect(fired).toBe(false);
  });

  it("fires a timer of the past soon, once, and not within the call that arms it", async () => {
    const clock = new TestClock(100);
    let fired = 0;
    clock.at(50, () => fired++);
    expect(fired).toBe(0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(fired).toBe(1);
    await clock.advance(10);
    expect(fired).toBe(1);
  });

  it("moves to the next timer and fires all of its instant", async () => {
    const clock = new TestClock(0);
    const fired: string[] = [];
    clock.at(10, () => fired.push("a"));
    clock.at(10, () => fired.push("b"));
    clock.at(11, () => fired.push("c"));
    expect(await clock.advanceToNext()).toBe(true);
    expect([clock.now(), fired]).toEqual([10, ["a", "b"]]);
    expect(await clock.advanceToNext()).toBe(true);
    expect([clock.now(), fired]).toEqual([11, ["a", "b", "c"]]);
    expect(await clock.advanceToNext()).toBe(false);
    expect(clock.now()).toBe(11);
  });

  it("sets the time forwards, firing what is passed", async () => {
    const clock = new TestClock(0);
    const fired: number[] = [];
    clock.at(10, () => fired.push(clock.now()));
    await clock.set(new Date(500));
    expect([clock.now(), fired]).toEqual([500, [10]]);
  });

  it("sets the time backwards, firing nothing and keeping the instants", async () => {
    const clock = new TestClock(1_000);
    const fired: number[] = [];
    clock.at(1_010, () => fired.push(clock.now()));
    await clock.set(500);
    expect([clock.now(), fired, clock.pending]).toEqual([500, [], 1]);
    await clock.advance(509);
    expect(fired).toEqual([]);
    await clock.advance(1);
    expect(fired).toEqual([1_010]);
  });

  it("does not fire a timer of the past that lies ahead again before its turn has come", async () => {
    const clock = new TestClock(100);
    let fired = 0;
    clock.at(50, () => fired++);
    await clock.set(10);
    expect([fired, clock.pending]).toEqual([0, 1]);
    await clock.advance(40);
    expect(fired).toBe(1);
  });

  it("makes moves one after the other, in the order of the calls", async () => {
    const clock = new TestClock(0);
    await Promise.all([clock.advance(10), clock.advance(10), clock.advance(10)]);
    expect(clock.now()).toBe(30);
    const seen: number[] = [];
    clock.at(45, () => seen.push(clock.now()));
    await Promise.all([clock.advance(10), clock.advance(10), clock.set(45), clock.advance(1)]);
    expect(seen).toEqual([45]);
    expect(clock.now()).toBe(46);
  });

  it("rejects with what a timer throws, and can be moved on", async () => {
    const clock = new TestClock(0);
    clock.at(10, () => {
      throw new Error("from the timer");
    });
    await expect(clock.advance(20)).rejects.toThrow("from the timer");
    expect(clock.now()).toBe(10);
    await clock.advance(10);
    expect(clock.now()).toBe(20);
  });

  it("refuses to loop for ever over timers armed for the same instant", async () => {
    const clock = new TestClock(0);
    let stopped = false;
    const again = (): void => {
      if (!stopped) clock.at(10, again);
    };
    clock.at(10, again);
    await expect(clock.advance(10)).rejects.toThrow(StateError);
    stopped = true;
  });

  it("stays in order with thousands of timers armed and cancelled in any order", async () => {
    const clock = new TestClock(0);
    const fired: number[] = [];
    let expected = 0;
    for (let index = 0; index < 5_000; index++) {
      const at = (index * 7_919) % 1_009;
      const timer = clock.at(at + 1, () => fired.push(clock.now()));
      if (index % 3 === 0) timer.cancel();
      else expected++;
    }
    expect(clock.pending).toBe(expected);
    await clock.advance(1_010);
    expect(fired).toHaveLength(expected);
    expect(fired).toEqual([...fired].sort((a, b) => a - b));
  });

  describe("that goes by itself", () => {
    /** Resolves at an instant of the clock, to the time that it then was. */
    const reached = (clock: TestClock, at: number): Promise<number> =>
      new Promise((resolve) => void clock.at(at, () => resolve(clock.now()), true));

    it("comes to its timers in order, each at its own time, those armed meanwhile included", async () => {
      const clock = new TestClock(0);
      const fired: [string, number][] = [];
      const arm = (name: string, at: number): void =>
        void clock.at(at, () => fired.push([name, clock.now()]));
      arm("c", 7_200_000);
      arm("a", 1_800_000);
      clock.at(3_600_000, () => {
        fired.push(["b", clock.now()]);
        arm("of b", clock.now() + 1);
      });
      const end = reached(clock, 7_200_001);
      await clock.scale(500_000);
      expect(await end).toBe(7_200_001);
      expect(fired).toEqual([
        ["a", 1_800_000],
        ["b", 3_600_000],
        ["of b", 3_600_001],
        ["c", 7_200_000],
      ]);
      await clock.scale(0);
    });

    it("goes at a multiple of real time, and not faster", async () => {
      const clock = new TestClock(0);
      const began = performance.now();
      await clock.scale(10_000);
      const since = performance.now();
      await reached(clock, 200_000);
      expect(clock.now()).toBeLessThanOrEqual((performance.now() - began) * 10_000);
      // Time stands until what the timer set off is done.
      while (clock.now() === 200_000) await new Promise((resolve) => setImmediate(resolve));
      // Nothing is pending that could hold it back: all real time counts.
      const from = performance.now();
      expect(clock.now()).toBeGreaterThanOrEqual(Math.floor((from - since) * 10_000) - 1);
      await clock.scale(0);
    });

    it("passes no pending timer, however late the machine is", async () => {
      const clock = new TestClock(0);
      await clock.scale(1_000_000);
      const at = clock.now() + 60_000;
      const end = reached(clock, at);
      const busyUntil = performance.now() + 5;
      while (performance.now() < busyUntil) expect(clock.now()).toBeLessThanOrEqual(at);
      expect(clock.now()).toBe(at);
      expect(await end).toBe(at);
      await clock.scale(0);
    });

    it("is moved by hand all the same, and goes on from there", async () => {
      const clock = new TestClock(0);
      const fired: number[] = [];
      await clock.scale(1_000);
      clock.at(86_400_000, () => fired.push(clock.now()));
      const next = reached(clock, 3 * 86_400_000);
      await clock.advance("2d");
      expect(fired).toEqual([86_400_000]);
      const moved = clock.now();
      expect(moved).toBeGreaterThanOrEqual(2 * 86_400_000);
      // By its old pace it would take minutes to come to where it was moved.
      while (clock.now() === moved) await new Promise((resolve) => setImmediate(resolve));
      // And more to come to this timer.
      await clock.set(3 * 86_400_000 - 1_000);
      expect(await next).toBe(3 * 86_400_000);
      const asked = performance.now();
      await clock.set(1_000);
      expect(clock.now()).toBeGreaterThanOrEqual(1_000);
      expect(clock.now()).toBeLessThanOrEqual(1_001 + (performance.now() - asked) * 1_000);
      await clock.scale(0);
    });

    it("stands still again when it is told to", async () => {
      const clock = new TestClock(0);
      await clock.scale(1_000_000);
      await reached(clock, 5_000);
      await clock.scale(0);
      let fired = false;
      const now = clock.now();
      clock.at(now + 1, () => (fired = true));
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect([clock.now(), fired]).toEqual([now, false]);
      await clock.advance(1);
      expect(fired).toBe(true);
    });

    it("goes back to the machine's time, firing what lies between when that is later", async () => {
      const clock = new TestClock(1_000);
      const fired: number[] = [];
      clock.at(2_000, () => fired.push(clock.now()));
      const before = Date.now();
      await clock.toRealtime();
      expect(fired).toEqual([2_000]);
      expect(clock.now()).toBeGreaterThanOrEqual(before);
      expect(clock.now()).toBeLessThanOrEqual(Date.now());
      const at = Date.now() + 20;
      expect(await reached(clock, at)).toBe(at);
      expect(Date.now()).toBeGreaterThanOrEqual(at);
      await clock.scale(0);
    });

    it("goes back to the machine's time, firing nothing when that is earlier", async () => {
      const far = Date.UTC(2200, 0, 1);
      const clock = new TestClock(far);
      let fired = 0;
      clock.at(far + 1, () => fired++);
      await clock.toRealtime();
      expect(clock.now()).toBeLessThanOrEqual(Date.now());
      expect([fired, clock.pending]).toEqual([0, 1]);
      await clock.scale(0);
    });

    it("keeps the process from ending for those timers alone that should", async () => {
      const clock = new TestClock(0);
      await clock.scale(1);
      const holding = (): number =>
        process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
      const others = holding();
      const idle = clock.at(60_000, () => undefined);
      expect(holding() - others).toBe(0);
      const needed = clock.at(90_000, () => undefined, true);
      expect(holding() - others).toBe(1);
      needed.cancel();
      expect(holding() - others).toBe(0);
      idle.cancel();
      clock.at(60_000, () => undefined, true);
      expect(holding() - others).toBe(1);
      await clock.scale(0);
      expect(holding() - others).toBeLessThanOrEqual(0);
    });

    it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, 1_000_001, "fast" as never])(
      "refuses the factor %s",
      async (factor) => {
        await expect(new TestClock().scale(factor)).rejects.toThrow(InvalidOptionError);
      },
    );
  });

  it.each([
    ["a negative span", (clock: TestClock) => clock.advance(-1)],
    ["text that is no duration", (clock: TestClock) => clock.advance("soon" as never)],
    ["NaN as a span", (clock: TestClock) => clock.advance(Number.NaN)],
    [
      "a span beyond the year 9999",
      (clock: TestClock) => clock.set(253_402_300_799_999).then(() => clock.advance(1)),
    ],
    ["an invalid date", (clock: TestClock) => clock.set(new Date(Number.NaN))],
    ["Infinity as a time", (clock: TestClock) => clock.set(Number.POSITIVE_INFINITY)],
    ["text as a time", (clock: TestClock) => clock.set("tomorrow" as never)],
  ])("refuses %s and stays usable", async (_what, move) => {
    const clock = new TestClock(0);
    await expect(move(clock)).rejects.toThrow(InvalidOptionError);
    await clock.set(10);
    expect(clock.now()).toBe(10);
  });

  it("refuses a start that is no time and a timer at NaN", () => {
    expect(() => new TestClock(Number.NaN)).toThrow(InvalidOptionError);
    expect(() => new TestClock(new Date(Number.NaN))).toThrow(InvalidOptionError);
    expect(() => new TestClock().at(Number.NaN, () => {})).toThrow(InvalidOptionError);
  });

  it("keeps a timer at infinity pending", async () => {
    const clock = new TestClock(0);
    clock.at(Number.POSITIVE_INFINITY, () => expect.fail("fired"));
    expect(await clock.advanceToNext()).toBe(false);
    expect(clock.pending).toBe(1);
  });
});
