import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { locks } from "./locks.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StorageClosedError, StorageUnavailableError } from "../../errors.ts";
import { Gate, type GateOptions } from "./gate.ts";

// Two gates on one folder have files of their own, so they contend in the kernel as two processes do.

let folder: string;
const gates: Gate[] = [];
const gate = (options?: GateOptions): Gate => {
  const made = new Gate(folder, options);
  gates.push(made);
  return made;
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jobwright-gate-"));
});
afterEach(async () => {
  await Promise.all(gates.splice(0).map((one) => one.close()));
  rmSync(folder, { recursive: true });
});

/** Take a gate from outside any turn, and let go when told: a process that stands still inside. */
function hold(one: Gate): () => void {
  one.keepAtExit(0);
  return () => void one.close();
}

describe("gate", () => {
  test("answers what the work answers", async () => {
    expect(await gate().pass(() => 42)).toBe(42);
  });

  test("lets everybody in, one at a time, in order within a process", async () => {
    const [a, b] = [gate(), gate()];
    const seen: string[] = [];
    let inside = 0;
    const enter = (name: string) => (): void => {
      expect(++inside).toBe(1);
      seen.push(name);
      inside--;
    };
    const names = Array.from({ length: 50 }, (_, i) => String(i));
    await Promise.all(names.flatMap((name) => [a.pass(enter(`a${name}`)), b.pass(enter(`b${name}`))]));
    expect(seen.filter((name) => name.startsWith("a"))).toEqual(names.map((name) => `a${name}`));
    expect(seen.filter((name) => name.startsWith("b"))).toEqual(names.map((name) => `b${name}`));
  });

  test("gives equal shares: nobody passes the other again and again", async () => {
    const [a, b] = [gate(), gate()];
    const seen: string[] = [];
    const loop = async (one: Gate, name: string): Promise<void> => {
      for (let i = 0; i < 100; i++) await one.pass(() => void seen.push(name));
    };
    await Promise.all([loop(a, "a"), loop(b, "b")]);
    const firstHalf = seen.slice(0, 100).filter((name) => name === "a").length;
    expect(firstHalf).toBeGreaterThan(25);
    expect(firstHalf).toBeLessThan(75);
  });

  test("opens again after work that throws, and passes the error on", async () => {
    const [a, b] = [gate(), gate()];
    await expect(
      a.pass(() => {
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    expect(await b.pass(() => "in")).toBe("in");
    expect(await a.pass(() => "in")).toBe("in");
  });

  test("waits while another is inside, and goes on when it has left", async () => {
    const leave = hold(gate());
    let isIn = false;
    const passing = gate().pass(() => (isIn = true));
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(isIn).toBe(false);
    leave();
    await passing;
    expect(isIn).toBe(true);
  });

  test("gives up after its time with an error that names the folder, and can be tried again", async () => {
    const leave = hold(gate());
    const waiting = gate({ timeoutMs: 20 });
    const failed = await waiting.pass(() => "in").catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(StorageUnavailableError);
    expect((failed as Error).message).toContain(folder);
    leave();
    expect(await waiting.pass(() => "in")).toBe("in");
  });

  test("is passed by those behind a process that stands still at the head of the line", async () => {
    // It has the first place in line and never asks for the gate, as a stopped process does.
    const first = openSync(join(folder, "queue-1.lock"), "a+");
    locks.tryLock(first);
    const seen: number[] = [];
    const one = gate();
    for (let round = 0; round < 5; round++) await one.pass(() => seen.push(round));
    await gate().pass(() => seen.push(5));
    expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
    closeSync(first);
  });

  test("refuses after close, also who is in line still", async () => {
    const one = gate();
    const before = one.pass(() => "in");
    const closing = one.close();
    await one.close();
    await closing;
    await expect(before).rejects.toBeInstanceOf(StorageClosedError);
    await expect(one.pass(() => "in")).rejects.toBeInstanceOf(StorageClosedError);
  });
});
