// @ts-check
import { setTimeout as wait } from "node:timers/promises";
import { hashFile, lostAfter } from "./jobs.mjs";
import { progress } from "./progress.mjs";
import { Refusal } from "./refusal.mjs";
import { bar, count, keep, printable, say, show } from "./screen.mjs";

/** How often the progress line is renewed. */
const LOOK_MS = 100;

/**
 * Let the workers do what is left, and kill one of them on the way.
 *
 * @param {import("./place.mjs").Place} place
 * @param {import("./crew.mjs").Crew} crew
 * @param {number} workers
 * @param {AbortSignal} interrupted
 * @returns {Promise<Set<string>>} jobs that the killed worker held and had not started
 */
export async function work({ home, stores, run, jobs }, crew, workers, interrupted) {
  const before = await progress(jobs);
  if (before.left === 0) return new Set();
  const queue = "files";
  // Nobody gets a head start: the workers come to a paused queue.
  await jobs.pause({ queue });
  const middle = workers > 1 ? await jobInTheMiddle(jobs) : undefined;
  /** @type {Set<string>} */
  const rescued = new Set();
  /** @type {Set<string>} */
  const unstarted = new Set();
  let hasKilled = false;

  for (let n = 1; n <= workers; n += 1) {
    const name = `worker ${n}`;
    const start = { args: [home, name, middle ?? ""], storage: stores.urlOf(run.store) };
    crew.add(name, start, (message, member) => {
      switch (message.kind) {
        case "halfway":
          // Once is enough: whoever gets the job after the killed worker may finish it.
          if (hasKilled) return void member.child.send("go on");
          hasKilled = true;
          say(`3. Halfway: ${name} (process ${member.child.pid}) is killed with kill -9, on purpose, with`);
          say(
            `   ${count(message.running, "job")} at work in it. Nobody starts it again; the others go on, and take over its`,
          );
          say("   jobs as soon as it counts as lost.");
          return crew.kill(member);
        case "rescued":
          rescued.add(message.id);
          if (!message.started) unstarted.add(message.id);
          return;
        case "storageError":
          return say(`   ${name}: the storage failed: ${printable(message.text)}`);
      }
    });
  }
  await crew.started();
  const gone = stores.seesDeath ? "its process is gone, or when " : "";
  say(
    `2. ${count(crew.size, "worker process", "worker processes")}. A worker counts as lost when ${gone}it was`,
  );
  say(`   silent for ${lostAfter} (lostAfter: "${lostAfter}").`);
  if (workers === 1) say("   None will be killed: nobody would be left to go on.");
  else if (middle === undefined) say("   None will be killed: hardly anything is left to do.");
  await jobs.resume({ queue });

  const all = before.finished + before.left;
  for (;;) {
    const { finished, left } = await progress(jobs);
    const told = rescued.size > 0 ? `, ${rescued.size} rescued` : "";
    show(
      `   ${bar(finished, all)} ${finished.toLocaleString("en")} of ${all.toLocaleString("en")} jobs${told}`,
    );
    if (left === 0 || interrupted.aborted) break;
    if (crew.size === 0) {
      throw new Refusal("No worker is left, but jobs are. Run the same command again to go on.", 1);
    }
    await wait(LOOK_MS);
  }
  keep();
  return unstarted;
}

/**
 * The job that half of those waiting are before: whoever starts it will be killed.
 *
 * @param {import("jobwright").Jobs} jobs
 */
async function jobInTheMiddle(jobs) {
  const waiting = /** @type {const} */ ({ state: "available", name: hashFile.name });
  const { n } = await jobs.count(waiting);
  if (n < 2) return undefined;
  let index = Math.floor(n / 2);
  let page = await jobs.list({ ...waiting, limit: 1_000 });
  while (index >= page.jobs.length && page.next !== undefined) {
    index -= page.jobs.length;
    page = await jobs.list({ ...waiting, limit: 1_000, after: page.next });
  }
  return page.jobs[index]?.id;
}
