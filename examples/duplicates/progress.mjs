// @ts-check
import { hashFile } from "./jobs.mjs";

/**
 * How far the jobs are. The storage keeps these counts; nothing is scanned.
 *
 * @param {import("jobwright").Jobs} jobs
 * @returns {Promise<{ finished: number, left: number }>}
 */
export async function progress(jobs) {
  const queue = (await jobs.queues()).find((one) => one.queue === hashFile.options.queue);
  if (queue === undefined) return { finished: 0, left: 0 };
  const { completed, dead, cancelled, ...waiting } = queue.counts;
  const left = Object.values(waiting).reduce((sum, n) => sum + n, 0);
  return { finished: completed + dead + cancelled, left };
}
