import { describe, expect, it } from "vitest";
import { limits } from "../job/limits.ts";
import type { ClaimedJob } from "../storage/storage.ts";
import { Line } from "./line.ts";

function job(payload: string): ClaimedJob {
  return { id: 1, payload } as ClaimedJob;
}

/** A line that has finished `n` runs within the window that sizes the read-ahead. */
function busy(n: number): Line {
  const line = new Line("default", ["a"], 10);
  line.request(10, limits.readAhead, 1_000);
  for (let i = 0; i < n; i += 1) line.countFinished();
  return line;
}

describe("the read-ahead", () => {
  it("begins at nothing and grows to what was finished lately, up to its bound", () => {
    expect(busy(0).request(10, limits.readAhead, 1_050)).toMatchObject({ room: 10, readAhead: 0 });
    expect(busy(30).request(10, limits.readAhead, 1_050)).toMatchObject({ room: 10, readAhead: 30 });
    expect(busy(9_000).request(10, limits.readAhead, 1_050)).toMatchObject({ readAhead: limits.readAhead });
  });

  it("is nothing again after a pause, and goes on after a wait for the storage", () => {
    expect(busy(30).request(10, limits.readAhead, 1_500)).toMatchObject({ room: 10, readAhead: 0 });
    // Guards: a worker whose storage took 200 ms and more to answer never read anything ahead.
    const line = busy(30);
    line.roundTripMs = 450;
    expect(line.request(10, limits.readAhead, 1_500)).toMatchObject({ room: 10, readAhead: 30 });
  });

  // Guards: a worker on payloads of 1 MB held 500 of them and ran out of memory.
  it("is as short as the payloads are large", () => {
    const line = busy(9_000);
    line.add(job("x".repeat(1_000_000)), 1_010);
    line.next();
    const { readAhead } = line.request(10, limits.readAhead, 1_050);
    expect(readAhead).toBe(Math.floor(limits.readAheadText / 1_000_000));
  });

  it("is long again when they have been small for a while", () => {
    const line = busy(9_000);
    line.add(job("x".repeat(1_000_000)), 1_010);
    line.next();
    let asked = 0;
    for (let i = 0; i < 200; i += 1) asked = line.request(10, limits.readAhead, 1_050).readAhead;
    expect(asked).toBe(limits.readAhead);
  });
});

describe("a line of batches", () => {
  function line(maxWaitMs = 0): Line {
    return new Line("default", ["a"], 3, { maxBatch: 10, maxWaitMs });
  }
  function add(to: Line, n: number, at = 0): void {
    for (let i = 0; i < n; i += 1) to.add(job("x"), at);
  }

  it("asks for whole batches, and for what the one that has begun can still take", () => {
    const idle = line();
    expect(idle.request(3, limits.readAhead, 0)).toMatchObject({ room: 30, readAhead: 0 });
    add(idle, 14);
    // Two slots are for what is here, and six more jobs fit into the second.
    expect([idle.aheadSlots, idle.spare, idle.missing]).toEqual([2, 1, 6]);
    expect(idle.request(3, limits.readAhead, 0)).toMatchObject({ room: 10, readAhead: 6 });
  });

  it("asks for no more than may be read ahead, and for as little as memory bears", () => {
    const wide = new Line("default", ["a"], 1_000, { maxBatch: 100 });
    expect(wide.request(1_000, limits.readAhead, 0).room).toBe(limits.readAhead);
    wide.add(job("x".repeat(4_000_000)), 0);
    wide.nextBatch();
    expect(wide.request(3, limits.readAhead, 0).room).toBe(Math.floor(limits.readAheadText / 4_000_000));
  });

  it("gives a batch a slot, and waits for others from the first on", () => {
    const patient = line(500);
    add(patient, 4, 1_000);
    add(patient, 4, 1_400);
    expect([patient.waitsFor(1_000), patient.waitsFor(1_400), patient.waitsFor(1_500)]).toEqual([
      500, 100, 0,
    ]);
    add(patient, 3, 1_401);
    expect(patient.waitsFor(1_401)).toBe(0);
    expect(patient.nextBatch()).toHaveLength(10);
    for (let i = 0; i < 3; i += 1) patient.take();
    expect([patient.ahead, patient.free, patient.nextBatch()]).toEqual([1, 0, []]);
  });
});
