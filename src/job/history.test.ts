import { expect, test } from "vitest";
import { recorded } from "./history.ts";
import type { HistoryEntry, JobHead } from "./job.ts";
import { newHead } from "./lifecycle.ts";
import { limits } from "./limits.ts";

test("of 500 entries the first 10 and the last 40 are kept, never more than 50 on the way", () => {
  let head: JobHead = newHead({ priority: 0 }, 0, 0);
  for (let at = 1; at <= 500; at++) {
    const entry: HistoryEntry = { at, kind: "snoozed", runAt: at + 5 };
    const before = head.events;
    const copy = before === undefined ? undefined : [...before];
    head = { ...head, ...recorded(head, entry) };
    expect(before).toEqual(copy);
    expect(head.events).toHaveLength(Math.min(at, limits.historyFirst + limits.historyLast));
    expect(head.events?.at(-1)).toBe(entry);
  }
  const first = Array.from({ length: 10 }, (_, n) => n + 1);
  const last = Array.from({ length: 40 }, (_, n) => n + 461);
  expect(head.events?.map(({ at }) => at)).toEqual([...first, ...last]);
});

test("a job to which nothing happened has no entries", () => {
  expect(newHead({ priority: 0 }, 0, 0)).not.toHaveProperty("events");
});
