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
