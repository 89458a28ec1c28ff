// @ts-check
// Where a run of the demo is kept, so that one that was interrupted can go on.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import {
  access,
  constants,
  mkdir,
  readdir,
  realpath,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect, silentLogger } from "jobwright";
import { hashFile, lostAfter } from "./jobs.mjs";
import { Refusal } from "./refusal.mjs";
import { say } from "./screen.mjs";

/**
 * What is written down about a run beside its jobs: the folder of its store, how many files were queued once
 * all were, and whether its report was made.
 *
 * @typedef {{ store: string, found?: number, finished?: boolean }} Run
 */

/** @typedef {{ home: string, run: Run, jobs: import("jobwright").Jobs }} Place */

const checkout = fileURLToPath(new URL("../../", import.meta.url));
const HOME = ".jobwright-demo";

/** Workers of an interrupted run end by themselves; so long is waited for them. */
const LEAVE_MS = 15_000;

/**
 * The run for this folder: the interrupted one if there is one, else a new one.
 *
 * @param {Buffer} folder
 * @param {{ fresh: boolean, store?: string | undefined }} options
 * @returns {Promise<Place>}
 */
export async function openPlace(folder, { fresh, store }) {
  const name = createHash("sha256").update(folder).digest("hex").slice(0, 12);
  const path = join(store ?? (await writableHome()), name);
  await mkdir(path, { recursive: true });
  // The walk leaves it out, and knows only true paths.
  const home = await realpath(path);
  const earlier = readRun(home);
  // A run whose store is gone has nothing to go on with.
  if (earlier !== undefined && existsSync(join(home, earlier.store))) {
    const jobs = await connectTo(home, earlier);
    await othersGone(jobs);
    // Read again: it may have come to its end while we waited.
    const run = readRun(home) ?? earlier;
    if (!fresh && run.finished !== true) return { home, run, jobs };
    await jobs.close();
  }
  const run = { store: `store-${Date.now().toString(36)}` };
  await writeRun(home, run);
  for (const other of await readdir(home)) {
    if (!other.startsWith("store-") || other === run.store) continue;
    await rm(join(home, other), { recursive: true, force: true });
  }
  return { home, run, jobs: await connectTo(home, run) };
}

/**
 * Remembered at once and wholly, or not at all.
 *
 * @param {string} home
 * @param {Run} run
 */
export async function writeRun(home, run) {
  await writeFile(join(home, "run.json.new"), JSON.stringify(run));
  await rename(join(home, "run.json.new"), join(home, "run.json"));
}

/**
 * A link that leads nowhere: one job that must fail. It is planted here, never in the user's folder.
 *
 * @param {string} home
 */
export async function plantDanglingLink(home) {
  const path = join(home, "planted-dangling-link");
  await rm(path, { force: true });
  await symlink("there-is-no-such-file", path);
  return path;
}

/** @param {string} home */
function readRun(home) {
  try {
    return /** @type {Run} */ (JSON.parse(readFileSync(join(home, "run.json"), "utf8")));
  } catch {
    return undefined;
  }
}

/**
 * @param {string} home
 * @param {Run} run
 */
function connectTo(home, run) {
  return connect(`lmdb:${join(home, run.store)}`, { lostAfter, logger: silentLogger });
}

/** Beside package.json, or where that is read-only, among the temporary files. */
async function writableHome() {
  try {
    await access(checkout, constants.W_OK);
    return join(checkout, HOME);
  } catch {
    return join(tmpdir(), `jobwright-demo-${userInfo().username}`);
  }
}

/**
 * Nobody else may be at work here: two demos on one folder would take each other's jobs.
 *
 * @param {import("jobwright").Jobs} jobs
 */
async function othersGone(jobs) {
  let isTold = false;
  const patience = performance.now() + LEAVE_MS;
  for (;;) {
    const live = (await jobs.processes()).filter(
      ({ lost, queues }) => !lost && queues.some(({ names }) => names.includes(hashFile.name)),
    );
    if (live.length === 0) return;
    if (!isTold) say("Waiting for the workers of an earlier run to end …");
    isTold = true;
    if (performance.now() > patience) {
      const pids = live.map(({ pid }) => pid).join(", ");
      await jobs.close();
      throw new Refusal(
        `Another demo is at work on this folder (process ${pids}). Wait for its end, or stop it.`,
      );
    }
    await wait(100);
  }
}
