// @ts-check
import { opendir } from "node:fs/promises";

/**
 * What was met and is no file to read.
 *
 * @typedef {{ links: number, special: number, unreadable: string[], folders: number }} Passed
 */

/** Folders that cannot be read are named up to this number. */
const UNREADABLE_NAMED = 20;

/**
 * The regular files below a folder, one after the other, so that a million of them need no memory. Paths are
 * bytes: not every name is text. Symbolic links are not followed, so there are no circles.
 *
 * @param {Buffer} top
 * @param {Buffer} own a folder to leave out
 * @param {Passed} passed counted up as the walk goes on
 * @returns {AsyncGenerator<Buffer>}
 */
export async function* filesBelow(top, own, passed) {
  const folders = [top];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    passed.folders += 1;
    try {
      for await (const entry of await openFolder(folder)) {
        const path = Buffer.concat([folder, SLASH, entry.name]);
        if (entry.isFile()) yield path;
        else if (entry.isSymbolicLink()) passed.links += 1;
        else if (!entry.isDirectory()) passed.special += 1;
        else if (!path.equals(own)) folders.push(path);
      }
    } catch (error) {
      // Also a folder that was removed meanwhile. What is below the others can still be compared.
      if (passed.unreadable.length < UNREADABLE_NAMED) passed.unreadable.push(String(error));
    }
  }
}

const SLASH = Buffer.from("/");

/**
 * @param {Buffer} path
 * @returns {Promise<AsyncIterable<import("node:fs").Dirent<Buffer>>>}
 */
async function openFolder(path) {
  // The types of Node know no buffers here; Node does.
  const options = /** @type {any} */ ({ encoding: "buffer", bufferSize: 256 });
  return /** @type {any} */ (await opendir(path, options));
}
