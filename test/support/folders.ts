import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeDataFolder } from "./postgres/folder.ts";

/** Folders for the stores of a test, all removed at once. */
export function temporaryFolder(): { make(): string; remove(): void } {
  const root = makeDataFolder();
  return {
    make: () => mkdtempSync(join(root, "store-")),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}
