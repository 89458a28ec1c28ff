// @ts-check
// What came out, read from the storage alone: whatever main and workers went through, this is what counts.
import { basename } from "node:path";
import { hashFile } from "./jobs.mjs";
import { count, printable, say, shortened, size } from "./screen.mjs";

/** @typedef {{ sha256: string, size: number, copies: number, path: string }} Group */

/**
 * @typedef {object} Findings
 * @property {Group[]} groups files of equal content, the most wasteful first
 * @property {{ path: string, error: string }[]} dead the first of them, by name
 * @property {number} deadCount
 * @property {number} done
 * @property {number} attempts all that were spent
 * @property {number} failed attempts that failed by themselves and were followed by another
 * @property {Set<string>} lostWith jobs that lost an attempt with their process
 */

const GROUPS_SHOWN = 10;
const DEAD_SHOWN = 10;
const NAME_WIDTH = 72;

/**
 * Read all finished jobs, page by page.
 *
 * @param {import("jobwright").Jobs} jobs
 * @returns {Promise<Findings>}
 */
export async function findings(jobs) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  /** @type {Findings} */
  const found = { groups: [], dead: [], deadCount: 0, done: 0, attempts: 0, failed: 0, lostWith: new Set() };

  for await (const job of finished(jobs, "completed")) {
    const { path } = /** @type {import("./jobs.mjs").FilePath} */ (job.payload);
    const facts = /** @type {import("./jobs.mjs").FileFacts} */ (job.result);
    found.done += 1;
    await addAttempts(job);
    const group = groups.get(facts.sha256);
    if (group === undefined) {
      groups.set(facts.sha256, { ...facts, copies: 1, path });
    } else {
      group.copies += 1;
      if (path < group.path) group.path = path;
    }
  }
  for await (const job of finished(jobs, "dead")) {
    const { path } = /** @type {import("./jobs.mjs").FilePath} */ (job.payload);
    found.deadCount += 1;
    await addAttempts(job);
    if (found.dead.length < DEAD_SHOWN) {
      found.dead.push({ path, error: `${job.error?.name}: ${job.error?.message}` });
    }
  }
  found.groups = [...groups.values()]
    .filter(({ copies }) => copies > 1)
    .sort((a, b) => wasted(b) - wasted(a));
  return found;

  /** @param {import("jobwright").Job} job */
  async function addAttempts(job) {
    found.attempts += job.attempt;
    if (job.attempt === 1) return;
    for (const { attempt, error } of await jobs.attempts(job.id)) {
      if (error.name === "ProcessLostError") found.lostWith.add(job.id);
      else if (attempt < job.attempt) found.failed += 1;
    }
  }
}

/**
 * @param {import("jobwright").Jobs} jobs
 * @param {"completed" | "dead"} state
 */
async function* finished(jobs, state) {
  /** @type {string | undefined} */
  let after;
  do {
    const page = await jobs.list({ state, name: hashFile.name, limit: 1_000, ...(after && { after }) });
    yield* page.jobs;
    after = page.next;
  } while (after !== undefined);
}

/**
 * @param {Findings} found
 * @param {string} folder
 * @param {string} planted
 */
export function sayFindings(found, folder, planted) {
  const groups = found.groups.filter((group) => wasted(group) > 0);
  if (groups.length === 0) {
    say("No two files are equal (empty ones aside).");
  } else {
    say("The largest groups of equal files:");
    say();
    say(`  ${"copies".padStart(6)}  ${"size each".padStart(10)}  ${"wasted".padStart(10)}  one of them`);
    for (const group of groups.slice(0, GROUPS_SHOWN)) {
      const copies = group.copies.toLocaleString("en").padStart(6);
      const name = group.path.startsWith(`${folder}/`) ? group.path.slice(folder.length + 1) : group.path;
      const cells = [copies, size(group.size).padStart(10), size(wasted(group)).padStart(10)];
      say(`  ${cells.join("  ")}  ${shortened(printable(name), NAME_WIDTH)}`);
    }
    const waste = groups.reduce((sum, group) => sum + wasted(group), 0);
    say();
    say(`${count(groups.length, "group")} of equal files, ${size(waste)} wasted in all.`);
  }
  say();
  say(`${count(found.deadCount, "job")} gave up:`);
  for (const { path, error } of found.dead) {
    const name = path === planted ? `${basename(path)} (planted by the demo)` : printable(path);
    say(`  ${shortened(name, NAME_WIDTH)}`);
    say(`      ${shortened(printable(error), 2 * NAME_WIDTH)}`);
  }
  if (found.deadCount > found.dead.length) say(`  … and ${found.deadCount - found.dead.length} more`);
}

/** @param {Group} group */
function wasted(group) {
  return group.size * (group.copies - 1);
}
