import { expect, test } from "vitest";
import { FINAL_STATES, isFinal, JOB_STATES } from "./job.ts";

test("isFinal and the two lists agree", () => {
  expect(JOB_STATES.filter(isFinal)).toEqual(["completed", "cancelled", "dead"]);
  expect([...FINAL_STATES].sort()).toEqual(JOB_STATES.filter(isFinal).sort());
});
