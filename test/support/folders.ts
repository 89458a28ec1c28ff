import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Folders for the stores of a test, all removed at once. */
export function temporaryFolder(): { make(): string; remove(): void } {
  const root = mkdtempSync(join(tmpdir(), "jobwright-"));
  return {
    make: () => mkdtempSync(join(root, "store-")),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}
