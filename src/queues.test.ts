import { describe, expect, it } from "vitest";
import type { LaneInfo, ProcessInfo } from "./storage/storage.ts";
import { queueViews } from "./queues.ts";

const none = { scheduled: 0, available: 0, blocked: 0, running: 0, completed: 0, cancelled: 0, dead: 0 };

function lane(queue: string, name: string, available: number, paused = false): LaneInfo {
  return { queue, name, paused, counts: { ...none, available, dead: 1 } };
}

function process(id: string, queues: ProcessInfo["queues"], lost = false): ProcessInfo {
  return { id, host: "h", pid: 1, lostAfterMs: 1, queues, registeredAt: 0, silentMs: 0, lost, running: 0 };
}

describe("queueViews", () => {
  it("adds the lanes of a queue up and counts who serves it, and each name, lost processes aside", () => {
    const lanes = [lane("mail", "a", 2), lane("mail", "b", 3, true), lane("__proto__", "a", 1)];
    const serves = [{ queue: "mail", names: ["a", "x"], concurrency: 1 }];
    const views = queueViews({ lanes, pausedQueues: [] }, [
      process("1", serves),
      process("2", serves),
      process("3", serves, true),
    ]);
    expect(views).toEqual([
      {
        queue: "__proto__",
        paused: false,
        counts: { ...none, available: 1, dead: 1 },
        servedBy: 0,
        names: [{ name: "a", paused: false, counts: { ...none, available: 1, dead: 1 }, servedBy: 0 }],
      },
      {
        queue: "mail",
        paused: false,
        counts: { ...none, available: 5, dead: 2 },
        servedBy: 2,
        names: [
          { name: "a", paused: false, counts: { ...none, available: 2, dead: 1 }, servedBy: 2 },
          { name: "b", paused: true, counts: { ...none, available: 3, dead: 1 }, servedBy: 0 },
        ],
      },
    ]);
  });

  it("shows queues that only a setting or a process knows", () => {
    const views = queueViews({ lanes: [], pausedQueues: ["held"] }, [
      process("1", [{ queue: "idle", names: ["a"], concurrency: 1 }]),
    ]);
    expect(views).toEqual([
      { queue: "held", paused: true, counts: none, servedBy: 0, names: [] },
      { queue: "idle", paused: false, counts: none, servedBy: 1, names: [] },
    ]);
  });
});
