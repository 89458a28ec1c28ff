// @ts-check
// Where a run of the demo is kept, so that one that was interrupted can go on.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { access, constants, mkdir, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect, silentLogger, StorageRefusedError } from "jobwright";
import { hashFile, lostAfter } from "./jobs.mjs";
import { progress } from "./progress.mjs";
import { Refusal } from "./refusal.mjs";
import { printable, say } from "./screen.mjs";
import { foldersIn, schemasIn } from "./stores.mjs";

/**
 * What is written down about a run beside its jobs: the name of its store, how many files were queued once
 * all were, and whether its report was made.
 *
 * @typedef {{ store: string, found?: number, finished?: boolean }} Run
 */

/** @typedef {import("./stores.mjs").Stores} Stores */

/** @typedef {{ home: string, stores: Stores, run: Run, jobs: import("jobwright").Jobs }} Place */

const checkout = fileURLToPath(new URL("../../", import.meta.url));
const HOME = ".jobwright-demo";

/** A server may be on its way up; who waits for it so long is told. */
const LATE_MS = 2_000;

/** Workers of an interrupted run end by themselves; so long is waited for them. */
const LEAVE_MS = 15_000;

/**
 * The run for this folder: the interrupted one if there is one, else a new one.
 *
 * @param {Buffer} folder
 * @param {{ fresh: boolean, store?: string | undefined, url?: string | undefined }} options
 * @returns {Promise<Place>}
 */
export async function openPlace(folder, { fresh, store, url }) {
  const hash = createHash("sha256").update(folder);
  // The same folder with another database is another run.
  if (url !== undefined) hash.update(`\0${withoutPassword(url)}`);
  const name = hash.digest("hex").slice(0, 12);
  const path = join(store ?? (await writableHome()), name);
  await mkdir(path, { recursive: true });
  // The walk leaves it out, and knows only true paths.
  const home = await realpath(path);
  const stores = url === undefined ? foldersIn(home) : schemasIn(url, `jobwright_demo_${name}`);
  const earlier = readRun(home);
  if (earlier !== undefined) {
    const jobs = await connectTo(stores, earlier);
    await othersGone(jobs);
    // Read again: it may have come to its end while we waited.
    const run = readRun(home) ?? earlier;
    if (!fresh && run.finished !== true && (await isThere(jobs, run))) return { home, stores, run, jobs };
    await jobs.close();
    await stores.remove(run.store);
  }
  const run = { store: `store-${Date.now().toString(36)}` };
  await writeRun(home, run);
  return { home, stores, run, jobs: await connectTo(stores, run) };
}

/**
 * A run whose store is gone has nothing to go on with: it was made anew, and is empty.
 *
 * @param {import("jobwright").Jobs} jobs
 * @param {Run} run
 */
async function isThere(jobs, { found }) {
  const { finished, left } = await progress(jobs);
  return found === undefined || finished + left > 0;
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
 * @param {Stores} stores
 * @param {Run} run
 */
async function connectTo(stores, { store }) {
  const isLate = setTimeout(() => say(`Waiting for ${printable(stores.shown(store))} …`), LATE_MS);
  try {
    return await connect(stores.urlOf(store), { lostAfter, logger: silentLogger });
  } catch (error) {
    if (error instanceof StorageRefusedError) throw new Refusal(error.message + stores.advice, 1);
    throw error;
  } finally {
    clearTimeout(isLate);
  }
}

/** @param {string} url */
function withoutPassword(url) {
  return url.replace(/^([a-z]+:\/\/[^:@/]*):.*@/is, "$1@");
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
