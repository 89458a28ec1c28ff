import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout's folder, with a separator at its end. */
export const root = fileURLToPath(new URL("../", import.meta.url));

/** Something the user can read and act on: printed without a stack. */
export class Failure extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The JSON of a file of the checkout; `undefined` when it is missing or not JSON. */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), "utf8"));
  } catch {
    return undefined;
  }
}

/** One hash over texts, of which none can pass for a part of its neighbour. */
export function hash(texts) {
  const sum = createHash("sha256");
  for (const text of texts) sum.update(`${Buffer.byteLength(text)}:`).update(text);
  return sum.digest("hex");
}

/**
 * One line for one step: what it does when it begins, how long it took when it ends. It goes to
 * stderr, so that the output of a command can be piped.
 */
export async function step(title, work) {
  process.stderr.write(`${title} … `);
  const start = process.hrtime.bigint();
  try {
    const note = await work();
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    process.stderr.write(`${seconds.toFixed(1)} s${note ? ` (${note})` : ""}\n`);
  } catch (error) {
    process.stderr.write("failed\n");
    throw error;
  }
}
