import { expect } from "vitest";
import { engines, type StorageKind } from "../support/storages.ts";
import { throughServers } from "../support/through-server.ts";
import { type Recording, replay } from "./replay.ts";
import type { Script } from "./script.ts";

/** Replays of a failing script while it is made shorter. */
const REPLAYS_MAX = 150;

/**
 * Run a script and compare what is answered with what the measure answered. Answers with the shortest script found
 * whose answers differ, as code to paste, or `undefined` when all are the same.
 */
export async function differenceIn(
  script: Script,
  measure: StorageKind,
  other: StorageKind,
  expected: Recording,
): Promise<string | undefined> {
  const at = firstDifference(expected, await replay(other, script));
  if (at === undefined) return undefined;
  const differs = async (some: Script): Promise<boolean> =>
    firstDifference(await replay(measure, some), await replay(other, some)) !== undefined;
  return report(await shorter(script.slice(0, at + 1), differs), measure, other);
}

export function expectNone(differences: readonly string[]): void {
  if (differences.length > 0) expect.fail(differences.join("\n\n"));
}

/** The first call whose answers differ. */
export function firstDifference(a: Recording, b: Recording): number | undefined {
  const n = Math.max(a.answers.length, b.answers.length);
  for (let i = 0; i < n; i += 1) if (a.answers[i] !== b.answers[i]) return i;
  return undefined;
}

/** Drop halves, then quarters, and so on down to single calls, as long as what is left still fails. */
export async function shorter(script: Script, fails: (script: Script) => Promise<boolean>): Promise<Script> {
  let left = script;
  let replays = 0;
  for (let length = Math.ceil(left.length / 2); ;) {
    const before = left.length;
    for (let from = 0; from < left.length && replays < REPLAYS_MAX;) {
      const without = [...left.slice(0, from), ...left.slice(from + length)];
      replays += 1;
      if (without.length > 0 && (await fails(without))) left = without;
      else from += length;
    }
    if (replays >= REPLAYS_MAX || (length === 1 && left.length === before)) return left;
    length = Math.max(1, Math.floor(length / 2));
  }
}

async function report(script: Script, measure: StorageKind, other: StorageKind): Promise<string> {
  const [expected, got] = [await replay(measure, script), await replay(other, script)];
  const at = firstDifference(expected, got);
  const lines = script.map(({ step, code }) => `    [${step}, ${JSON.stringify(code)}],`);
  return [
    "// In a file of its own below test/scripts, it prints where the two part:",
    'import { it } from "vitest";',
    'import { parting } from "./difference.ts";',
    "",
    `it("answers as ${measure.label} does", async () => {`,
    `  await parting(${JSON.stringify(measure.label)}, ${JSON.stringify(other.label)}, [`,
    ...lines,
    "  ]);",
    "});",
    "",
    ...(at === undefined
      ? ["The answers of this script differ from time to time only: they depend on more than the calls."]
      : [
          `Call ${script[at]?.step} is answered by ${measure.label}:`,
          ...around(expected.answers[at] ?? "(nothing)", got.answers[at] ?? "(nothing)"),
          `and by ${other.label}:`,
          ...around(got.answers[at] ?? "(nothing)", expected.answers[at] ?? "(nothing)"),
        ]),
  ].join("\n");
}

/** Lines shown of an answer, before and behind the first that differs. */
const BEFORE = 12;
const BEHIND = 12;

function around(answer: string, other: string): string[] {
  const lines = answer.split("\n");
  const others = other.split("\n");
  const at = lines.findIndex((line, i) => line !== others[i]);
  const from = Math.max(0, (at === -1 ? lines.length : at) - BEFORE);
  return lines.slice(from, from + BEFORE + BEHIND);
}

/** For a pasted script: fails with the two answers where they part. */
export async function parting(
  measure: string,
  other: string,
  calls: readonly (readonly [step: number, code: string])[],
): Promise<void> {
  const kinds = [...engines, ...throughServers(engines)];
  const find = (label: string): StorageKind => kinds.find((kind) => kind.label === label) as StorageKind;
  const script = calls.map(([step, code]) => ({ step, kind: "bad" as const, code }));
  const [expected, got] = [await replay(find(measure), script), await replay(find(other), script)];
  const at = firstDifference(expected, got);
  if (at === undefined) return;
  expect(got.answers[at], `answer of ${other} to ${calls[at]?.join(": ")}`).toBe(expected.answers[at]);
}
