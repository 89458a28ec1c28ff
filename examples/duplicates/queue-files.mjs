// @ts-check
import { dirname } from "node:path";
import { item } from "jobwright";
import { idOf, toPayload } from "./file-path.mjs";
import { hashFile } from "./jobs.mjs";
import { plantDanglingLink, writeRun } from "./place.mjs";
import { progress } from "./progress.mjs";
import { count, keep, printable, say, show } from "./screen.mjs";
import { filesBelow } from "./walk.mjs";

/** Jobs queued in one step: all of them, durably, or none. */
const CHUNK = 1_000;

/**
 * Queue a job for every file. Doing it again after an interruption adds only what is missing: the id of a
 * job is made from the file's path.
 *
 * @param {import("./place.mjs").Place} place
 * @param {Buffer} folder
 * @param {AbortSignal} interrupted
 * @returns {Promise<number>} how many there are
 */
export async function queueFiles({ home, run, jobs }, folder, interrupted) {
  const { finished, left } = await progress(jobs);
  const passed = { links: 0, special: 0, unreadable: [], folders: 0 };
  let created = 0;
  let existing = 0;

  // The link leads nowhere: its job will fail, be retried once, and give up.
  const link = Buffer.from(await plantDanglingLink(home));
  let chunk = [item(hashFile, toPayload(link), { id: idOf(link), maxRetries: 1 })];

  const store = async () => {
    const handles = await jobs.enqueueMany(chunk);
    const added = handles.filter((handle) => handle.created).length;
    created += added;
    existing += handles.length - added;
    chunk = [];
    show(`   Looking for files … ${(created + existing).toLocaleString("en")} queued`);
  };
  for await (const path of filesBelow(folder, Buffer.from(dirname(home)), passed)) {
    chunk.push(item(hashFile, toPayload(path), { id: idOf(path) }));
    if (chunk.length === CHUNK) await store();
    if (interrupted.aborted) break;
  }
  await store();
  keep();
  if (interrupted.aborted) return created + existing;

  // Files that an interrupted run queued and that are gone by now have their jobs all the same.
  const gone = finished + left - existing;
  const found = created + existing + gone;
  // From now on the number stands, in a file of its own: it is what the storage is measured by at the end.
  await writeRun(home, Object.assign(run, { found }));

  const again = existing > 0 ? `, ${existing.toLocaleString("en")} of them by an interrupted run` : "";
  say(
    `1. ${count(created + existing - 1, "file")} in ${count(passed.folders, "folder")}, and a link that leads nowhere, planted`,
  );
  say(`   by the demo: ${count(found, "job")} queued, durably${again}.`);
  if (gone > 0) say(`   ${count(gone, "file")} queued by the interrupted run cannot be found any more.`);
  if (passed.links > 0) say(`   Not followed: ${count(passed.links, "symbolic link")}.`);
  if (passed.special > 0)
    say(`   Passed over: ${count(passed.special, "socket, pipe or device", "sockets, pipes or devices")}.`);
  for (const error of passed.unreadable) say(`   Not readable: ${printable(error)}`);
  return found;
}
