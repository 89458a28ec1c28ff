import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The checkout's folder, with a separator at its end. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

let known: Promise<void> | undefined;

/**
 * Have `dist` built from the sources as they are now, for tests that start programs which import
 * "jobwright". `npm test` builds before it starts; this covers vitest run by hand. A process asks once: a run is of
 * one state of the sources.
 *
 * @throws with the compiler's output
 */
export async function built(): Promise<void> {
  known ??= build().catch((error: unknown) => {
    known = undefined;
    throw error;
  });
  await known;
}

async function build(): Promise<void> {
  await promisify(execFile)(process.execPath, ["scripts/run.mjs", "build"], { cwd: root }).catch(
    (error: { stderr: string }) => {
      throw new Error(error.stderr);
    },
  );
}
