import { expect } from "vitest";
import { isLong } from "../support/size.ts";
import { ENDS, STEPS } from "./acts.ts";
import type { Call } from "./script.ts";
import { badCalls } from "./bad-calls.ts";
import { CALL_KINDS } from "./script.ts";

/** Answers that come in every hundred calls or so. */
const OFTEN = [
  ...["handle: created", "handle: existing", "answer: cancelled", "answer: missing", "answer: undefined"],
  ...["state: scheduled", "state: available", "state: completed", "state: cancelled", "state: dead"],
  ...["kind: enqueued", "kind: failed", "kind: completed", "kind: cancelled", "kind: dead", "kind: snoozed"],
  ...["kind: rescheduled", "kind: retried", "kind: every", "kind: cron", "true", "false"],
  ...["error: JOBWRIGHT_INVALID_OPTION", "error: JOBWRIGHT_RESULT_TIMEOUT"],
];

/** What takes some luck: expected of the long run only, where the rarest comes dozens of times. */
const SELDOM = [
  ...["handle: replaced", "answer: finished", "state: blocked", "state: running", "state: gone"],
  ...["kind: cancel-asked", "kind: replaced"],
  ...["error: JOBWRIGHT_KEY_HELD", "error: JOBWRIGHT_DUPLICATE_ID", "error: JOBWRIGHT_JOB_FAILED"],
  ...["error: JOBWRIGHT_JOB_CANCELLED", "error: JOBWRIGHT_RESULT_GONE", "error: JOBWRIGHT_INVALID_VALUE"],
  ...[
    "error: JOBWRIGHT_INVALID_PAYLOAD",
    "error: JOBWRIGHT_PAYLOAD_TOO_LARGE",
    "error: JOBWRIGHT_MISSING_HANDLER",
  ],
  "error: JOBWRIGHT_DUPLICATE_JOB",
  ...[...STEPS, ...ENDS].map((act) => `act: ${act}`),
];

/**
 * Fails when a kind of call or of answer that scripts are there for never came, or an error that is not ours.
 * `JOBWRIGHT_COVERAGE=1` prints how often each came.
 */
export function expectCovered(calls: readonly Call[], answers: readonly string[]): void {
  const tally = new Map<string, number>();
  for (const kind of [...calls.map((call) => call.kind), ...answers])
    tally.set(kind, (tally.get(kind) ?? 0) + 1);
  if (process.env["JOBWRIGHT_COVERAGE"] === "1") {
    const lines = [...tally].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, n]) => `${kind}: ${n}`);
    process.stderr.write(`${lines.join("\n")}\n`);
  }
  const wanted = [...CALL_KINDS, ...OFTEN, ...(isLong ? SELDOM : [])];
  expect(
    wanted.filter((kind) => !tally.has(kind)),
    "never came",
  ).toEqual([]);
  expect([...tally.keys()].filter((kind) => kind.startsWith("stranger: "))).toEqual([]);
  if (!isLong) return;
  const said = new Set(calls.filter(({ kind }) => kind === "bad").map(({ code }) => withoutId(code)));
  expect(badCalls.map((bad) => withoutId(bad("id(1)"))).filter((code) => !said.has(code))).toEqual([]);
}

function withoutId(code: string): string {
  return code.replaceAll(/\bid\(\d+(?:, \d+)?\)/g, "id");
}
