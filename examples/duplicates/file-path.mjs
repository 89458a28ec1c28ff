// @ts-check
// Paths as payloads. A file name is bytes, a payload is JSON, and not every name is text.
import { createHash } from "node:crypto";
import { isUtf8 } from "node:buffer";

/** @typedef {import("./jobs.mjs").FilePath} FilePath */

/**
 * @param {Buffer} path
 * @returns {FilePath}
 */
export function toPayload(path) {
  const text = path.toString("utf8");
  return isUtf8(path) ? { path: text } : { path: text, bytes: path.toString("base64") };
}

/**
 * @param {FilePath} payload
 * @returns {string | Buffer} what `open` takes
 */
export function toPath({ path, bytes }) {
  return bytes === undefined ? path : Buffer.from(bytes, "base64");
}

/**
 * The job's id: the same file is the same job. A hash, because ids are short and have no control characters.
 *
 * @param {Buffer} path
 */
export function idOf(path) {
  return createHash("sha256").update(path).digest("base64url");
}
