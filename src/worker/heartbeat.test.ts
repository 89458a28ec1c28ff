import { afterEach, describe, expect, it } from "vitest";
import type { BeatResult, Lease, ProcessBeat } from "../storage/storage.ts";
import { Heartbeat, type HeartbeatDeps } from "./heartbeat.ts";

const lease: Lease = { id: 1, generation: 0, token: "t" };
const fine: BeatResult = { known: true, lost: [], asks: [] };

/** A heartbeat over a storage that answers as the test says, and everything it tells. */
function beating(answer: (n: number) => Promise<BeatResult>, overrides: Partial<HeartbeatDeps> = {}) {
  const sent: ProcessBeat[] = [];
  const told: string[] = [];
  let fenced: () => void = () => undefined;
  const fence = new Promise<void>((resolve) => (fenced = resolve));
  const heartbeat = new Heartbeat({
    beat: (what) => {
      sent.push(what);
      return answer(sent.length);
    },
    describe: () => ({
      id: "p",
      host: "h",
      pid: 1,
      lostAfterMs: 90,
      queues: [],
      holds: [lease],
      starts: [lease],
    }),
    reported: () => told.push("reported"),
    asks: () => told.push("asks"),
    lost: () => told.push("lost"),
    fence: () => {
      told.push("fence");
      fenced();
    },
    failed: () => told.push("failed"),
    beatEveryMs: 30,
    lostAfterMs: 90,
    ...overrides,
  });
  running.add(heartbeat);
  const beats = async (n: number): Promise<void> => {
    while (sent.length < n) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  return { heartbeat, sent, told, fence, beats };
}

const running = new Set<Heartbeat>();

describe("Heartbeat", () => {
  afterEach(() => {
    for (const heartbeat of running) heartbeat.stop();
    running.clear();
  });

  it("registers with its first beat alone, and shows what it holds with every one", async () => {
    const { heartbeat, sent, told, beats } = beating(async () => fine, { lostAfterMs: 60_000 });
    await heartbeat.start();
    expect(heartbeat.isSafe).toBe(true);
    await beats(4);
    expect(sent.map(({ first }) => first)).toEqual([true, undefined, undefined, undefined]);
    expect(sent.every(({ holds }) => holds.length === 1)).toBe(true);
    expect(told).not.toContain("fence");
    expect(told).toContain("reported");
  });

  it("rejects its start when the first beat fails, and is not safe", async () => {
    const { heartbeat, told } = beating(() => Promise.reject(new Error("down")));
    await expect(heartbeat.start()).rejects.toThrow("down");
    expect(heartbeat.isSafe).toBe(false);
    heartbeat.stop();
    expect(told).not.toContain("reported");
  });

  it("hands on who is to be cancelled and what is lost", async () => {
    const { heartbeat, told, beats } = beating(
      async () => ({
        known: true,
        lost: [lease],
        asks: [{ id: 1, generation: 0, reason: "r" }],
      }),
      { lostAfterMs: 60_000 },
    );
    await heartbeat.start();
    await beats(3);
    expect(told.slice(0, 3)).toEqual(["reported", "lost", "asks"]);
  });

  it("fences at once, and once, when nobody knows it any more", async () => {
    const { heartbeat, told, fence, sent } = beating(
      async (n) => (n === 1 ? fine : { ...fine, known: false }),
      {
        lostAfterMs: 60_000,
      },
    );
    await heartbeat.start();
    await fence;
    expect(sent).toHaveLength(2);
    expect(heartbeat.isSafe).toBe(false);
    expect(told).toEqual(["fence"]);
  });

  it.each<[string, () => Promise<BeatResult>]>([
    ["fail", () => Promise.reject(new Error("down"))],
    ["are never answered", () => new Promise(() => undefined)],
  ])("fences when its beats %s, having tried again before", async (_what, answer) => {
    const { heartbeat, told, fence, sent } = beating((n) => (n === 1 ? Promise.resolve(fine) : answer()));
    await heartbeat.start();
    const safeAt = performance.now();
    await fence;
    // Safe for lostAfter − beatEvery after the last beat that was acknowledged, and not a moment less.
    expect(performance.now() - safeAt).toBeGreaterThanOrEqual(55);
    expect(sent.length).toBeGreaterThan(1);
    expect(told.filter((what) => what === "fence")).toHaveLength(1);
    expect(heartbeat.isSafe).toBe(false);
  });

  it("counts from the moment a beat was sent, not from its answer", async () => {
    let release: () => void = () => undefined;
    const late = new Promise<BeatResult>((resolve) => (release = () => resolve(fine)));
    const { heartbeat, fence } = beating((n) => (n === 1 ? late : Promise.reject(new Error("down"))), {
      lostAfterMs: 400,
      beatEveryMs: 200,
    });
    const start = heartbeat.start();
    const sentAt = performance.now();
    const until = sentAt + 90;
    while (performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
    release();
    await start;
    const acknowledgedAt = performance.now();
    await fence;
    expect(acknowledgedAt - sentAt).toBeGreaterThanOrEqual(89);
    expect(performance.now() - sentAt).toBeGreaterThanOrEqual(199);
  });

  it("notices after a blocked event loop, before any timer has had its turn", async () => {
    const { heartbeat, told } = beating(async () => fine);
    await heartbeat.start();
    const end = performance.now() + 80;
    while (performance.now() < end);
    expect(heartbeat.isSafe).toBe(false);
    expect(told).toEqual(["fence"]);
  });

  it("is silent once stopped, also when an answer comes later", async () => {
    let release: () => void = () => undefined;
    const late = new Promise<BeatResult>((resolve) => (release = () => resolve({ ...fine, known: false })));
    const { heartbeat, told, beats } = beating((n) => (n === 1 ? Promise.resolve(fine) : late), {
      lostAfterMs: 60_000,
    });
    await heartbeat.start();
    await beats(2);
    heartbeat.stop();
    release();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(told).toEqual([]);
  });
});
