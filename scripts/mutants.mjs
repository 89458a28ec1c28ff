// npm run mutants [-- name …]: whether the tests notice when a rule is taken out of the sources.
// Every mutant of mutant-list.mjs is put into a copy of the checkout, built, and given to the tests it names:
// they must fail. The same tests must pass in the untouched copy, or their failure would prove nothing.
// The checkout itself is never changed. Exit code 1 when a mutant survives or cannot be judged.
import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { MUTANTS } from "./mutant-list.mjs";
import { Failure, readJson, root } from "./project.mjs";

/** One test may take this long before it counts as failed. */
const TEST_TIMEOUT_MS = 20_000;
/** One selection of tests may take this long; a run that does not end is no answer. */
const RUN_TIMEOUT_MS = 120_000;
/** Made by tools: each copy makes its own. */
const NOT_COPIED = /^(?:node_modules|dist|dist\.\w+|coverage|\.git|\.setup-lock.*|\.jobwright-.*)$/;

const folders = [];
const running = new Set();

await main(process.argv.slice(2));

async function main(names) {
  const unknown = names.filter((name) => !MUTANTS.some((mutant) => mutant.name === name));
  if (unknown.length > 0) {
    console.error(
      `Unknown: ${unknown.join(", ")}. There are: ${MUTANTS.map(({ name }) => name).join(", ")}.`,
    );
    process.exitCode = 1;
    return;
  }
  const mutants = names.length === 0 ? MUTANTS : MUTANTS.filter(({ name }) => names.includes(name));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, interrupted);
  const startedAt = performance.now();
  try {
    const copies = Math.min(mutants.length, Math.max(2, availableParallelism() - 1));
    const bad = await judgeAll(mutants, copies);
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    console.log(`${mutants.length - bad} of ${mutants.length} mutants caught in ${seconds} s`);
    process.exitCode = bad === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(error.message);
    process.exitCode = error.exitCode;
  } finally {
    removeFolders();
  }
}

/** Answers how many were not caught. */
async function judgeAll(mutants, copies) {
  const waiting = [...mutants];
  const baselines = new Map();
  const width = Math.max(...mutants.map(({ name }) => name.length));
  let bad = 0;
  const work = async () => {
    const copy = makeCopy();
    const broken = await build(copy);
    if (broken !== undefined) throw new Failure(`The untouched sources do not build: ${broken}`);
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const { isCaught, text } = await judge(mutant, copy, baselines);
      if (!isCaught) bad += 1;
      console.log(`${mutant.name.padEnd(width)}  ${text}`);
    }
  };
  await Promise.all(Array.from({ length: copies }, work));
  return bad;
}

async function judge(mutant, copy, baselines) {
  const refused = await notPassing(mutant.tests, copy, baselines);
  if (refused !== undefined) return { isCaught: false, text: `NOT JUDGED: ${refused}` };
  const path = join(copy, mutant.file);
  const before = readFileSync(path, "utf8");
  const pieces = before.split(mutant.find);
  if (pieces.length !== 2) {
    const text = `NOT JUDGED: its text stands ${pieces.length - 1} times in ${mutant.file}, not once`;
    return { isCaught: false, text };
  }
  writeFileSync(path, pieces.join(mutant.replace));
  try {
    const built = await build(copy);
    if (built !== undefined) return { isCaught: false, text: `DOES NOT BUILD: ${built}` };
    const { failed, problem } = await test(mutant.tests, copy);
    if (failed !== undefined) return { isCaught: true, text: `caught by ${failed}` };
    if (problem !== undefined) return { isCaught: false, text: `NOT JUDGED: ${problem}` };
    return { isCaught: false, text: `SURVIVED: ${mutant.why}` };
  } finally {
    writeFileSync(path, before);
  }
}

/** Why the failure of these tests would prove nothing; asked once for each selection. */
function notPassing(tests, copy, baselines) {
  const key = JSON.stringify(tests);
  const known = baselines.get(key);
  if (known !== undefined) return known;
  const asked = (async () => {
    const built = await build(copy);
    if (built !== undefined) return `the untouched sources do not build: ${built}`;
    const { failed, problem, passed } = await test(tests, copy);
    if (failed !== undefined) return `fails without it, too: ${failed}`;
    if (problem !== undefined) return problem;
    return passed === 0 ? `no test is selected by ${tests.join(" ")}` : undefined;
  })();
  baselines.set(key, asked);
  return asked;
}

/** The compiler's first complaint, if there is one. */
async function build(copy) {
  const { exitCode, output } = await run([join(copy, "scripts/run.mjs"), "build"], copy);
  if (exitCode === 0) return undefined;
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  return lines.find((line) => line.includes("error")) ?? lines.at(-1) ?? `exit code ${exitCode}`;
}

async function test(tests, copy) {
  const report = join(copy, ".jobwright-report.json");
  rmSync(report, { force: true });
  const args = [
    ...[join(copy, "node_modules/vitest/vitest.mjs"), "run", ...tests],
    ...["--bail=1", `--testTimeout=${TEST_TIMEOUT_MS}`, "--reporter=json", `--outputFile=${report}`],
  ];
  const { exitCode, output, isOverdue } = await run(args, copy);
  if (isOverdue) return { problem: `the tests did not end within ${RUN_TIMEOUT_MS / 1_000} s` };
  let results;
  try {
    results = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return { problem: `vitest ended with ${exitCode}: ${output.trim().split("\n").at(-1)}` };
  }
  for (const { name, status, message, assertionResults } of results.testResults) {
    const failed = assertionResults.find((one) => one.status === "failed");
    if (failed !== undefined) {
      return { failed: `${relative(copy, name).replaceAll("\\", "/")}: ${failed.fullName}` };
    }
    // A file that failed outside its tests has judged nothing.
    if (status === "failed") return { problem: `${relative(copy, name)} cannot be run: ${message}` };
  }
  // Errors outside of every test, for instance a rejection that nobody handles.
  if (exitCode !== 0) return { failed: `an error outside of the tests ${tests.join(" ")}` };
  return { passed: results.numPassedTests };
}

// ── Copies and processes ─────────────────────────────────────────────────────

/** The checkout as it is now, with links to its packages and a build of its own. */
function makeCopy() {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-mutants-"));
  folders.push(folder);
  for (const name of readdirSync(root)) {
    if (!NOT_COPIED.test(name)) cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  // Not one link for all: the stamps of set-up and build belong to each copy.
  const packages = join(folder, "node_modules");
  mkdirSync(packages);
  for (const entry of readdirSync(join(root, "node_modules"), { withFileTypes: true })) {
    const { name } = entry;
    const from = join(root, "node_modules", name);
    if (name === ".package-lock.json" || name === ".jobwright-setup") cpSync(from, join(packages, name));
    else if (name === ".bin" || !name.startsWith(".")) symlinkSync(from, join(packages, name), "junction");
  }
  if (readJson("node_modules/.jobwright-setup") === undefined) {
    throw new Failure("The checkout is not set up. Run: npm run mutants");
  }
  return folder;
}

function run(program, cwd) {
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (name.startsWith("JOBWRIGHT_")) delete env[name];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, program, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    running.add(child);
    let output = "";
    let isOverdue = false;
    const collect = (chunk) => (output = (output + String(chunk)).slice(-20_000));
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    const timer = setTimeout(() => {
      isOverdue = true;
      child.kill();
    }, RUN_TIMEOUT_MS);
    child.once("error", reject);
    child.once("close", (exitCode) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ exitCode, output, isOverdue });
    });
  });
}

function interrupted(signal) {
  for (const child of running) child.kill(signal);
  removeFolders();
  process.kill(process.pid, signal);
}

function removeFolders() {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
