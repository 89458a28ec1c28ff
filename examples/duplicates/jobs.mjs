// @ts-check
// What the jobs of this program are. No handler here: the main process enqueues and reads no file itself.
import { defineJob, fixed, json } from "jobwright";

/**
 * A file's path, absolute. A name that is not valid UTF-8 has no true text: then `bytes` is the path.
 *
 * @typedef {{ path: string, bytes?: string }} FilePath
 */

/**
 * What a worker finds out about a file.
 *
 * @typedef {{ size: number, sha256: string }} FileFacts
 */

export const hashFile = defineJob({
  name: "hash-file",
  queue: "files",
  payload: /** @type {import("jobwright").StandardSchema<FilePath>} */ (json()),
  backoff: fixed("250ms"),
  // The report at the end is made from the finished jobs, however long the program was interrupted.
  retention: { completed: Infinity, dead: Infinity },
});

/** Other processes take over the jobs of one that was silent for so long. The default is "25s". */
export const lostAfter = "3s";
