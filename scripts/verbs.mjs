import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureBuilt } from "./build.mjs";
import { run } from "./child.mjs";
import { ensureInstalled } from "./install.mjs";
import { Failure, root } from "./project.mjs";

const vitest = ["node_modules/vitest/vitest.mjs", "run"];
const long = { JOBWRIGHT_LONG: "1" };
/** What a run of all tests must have shown. A run of some of them shows nothing. */
const features = { program: ["scripts/check-features.mjs"], onlyWhole: true };

/**
 * What each verb does after the set-up: programs for Node, run one after the other. The arguments of
 * the command line go to the last.
 */
const VERBS = {
  test: { steps: [{ program: vitest }, features] },
  "test:long": { steps: [{ program: vitest, env: long }, features] },
  demo: { steps: [{ program: ["examples/duplicates/main.mjs"] }] },
  bench: { steps: [{ program: ["bench/run.mjs"] }] },
  mutants: { steps: [{ program: ["scripts/mutants.mjs"] }], needsBuild: false },
  build: { steps: [] },
  format: { steps: [{ program: ["node_modules/oxfmt/bin/oxfmt"] }], needsBuild: false },
  // All steps are run, so that one look shows everything that is wrong.
  check: {
    steps: [
      { program: ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"] },
      { program: ["node_modules/oxlint/bin/oxlint", "--deny-warnings"] },
      { program: ["node_modules/oxfmt/bin/oxfmt", "--check"] },
      { program: vitest },
      features,
    ],
  },
};

export async function main([name, ...args]) {
  try {
    process.exitCode = await perform(name, args);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(error.message);
    process.exitCode = error.exitCode;
  }
}

async function perform(name, args) {
  const verb = Object.hasOwn(VERBS, name ?? "") ? VERBS[name] : undefined;
  if (verb === undefined) {
    throw new Failure(`Unknown command "${name ?? ""}". There are: ${Object.keys(VERBS).join(", ")}.`);
  }
  await ensureInstalled();
  if (verb.needsBuild ?? true) await ensureBuilt();

  const steps = verb.steps.filter(({ onlyWhole }) => onlyWhole !== true || args.length === 0);
  const folder = steps.includes(features) ? mkdtempSync(join(tmpdir(), "jobwright-report-")) : undefined;
  try {
    const report = folder === undefined ? {} : { JOBWRIGHT_REPORT: join(folder, "report.json") };
    return await runSteps(steps, args, process.env["JOBWRIGHT_REPORT"] ? {} : report);
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

async function runSteps(steps, args, report) {
  let firstBad = 0;
  for (const [index, { program, env }] of steps.entries()) {
    const [file] = program;
    if (!existsSync(join(root, file))) throw new Failure(`${file} is missing: this checkout is not whole.`);
    const isLast = index === steps.length - 1;
    const { exitCode, interrupted } = await run(isLast ? [...program, ...args] : program, {
      ...env,
      ...report,
    });
    if (exitCode !== 0 && steps.length > 1) console.error(`${program.join(" ")}: exit code ${exitCode}`);
    firstBad ||= exitCode;
    if (interrupted) break;
  }
  return firstBad;
}
