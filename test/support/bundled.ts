import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
// Comes with vitest, which packs its own files with it.
import { rolldown } from "rolldown";
import { built, root } from "./built.ts";
import { isLong } from "./size.ts";

/** What child processes import of the library, as paths in `dist`. */
const ENTRIES = [
  "index.js",
  "storage/lmdb/environments.js",
  "storage/lmdb/index.js",
  "storage/postgres/connection.js",
  "storage/postgres/index.js",
  "storage/postgres/migrate.js",
] as const;
/** Packs by the sources they were made from. In `node_modules`, so that what is packed finds its packages. */
const PACKS = join(root, "node_modules/.cache/jobwright-children");
/** Written by scripts/build.mjs. */
const STAMP = join(root, "node_modules/.jobwright-build");
/** Nobody runs from a pack of other sources any more. */
const OLD_MS = 3_600_000;

/**
 * Make the library ready for child processes to import, from what is built. In the short run it is packed into a few
 * files: a process that lives for a moment spends most of it on finding ninety modules. The long run takes what is
 * shipped. Not for children that start threads or processes of the library's own, which have their place in `dist`.
 */
export async function bundled(): Promise<void> {
  library = process.env["JOBWRIGHT_DIST"] ?? (await packed());
}

let library: string | undefined;

/** Tells child processes where the library is that {@link bundled} has made. */
export function libraryEnv(): { readonly JOBWRIGHT_DIST?: string } {
  return library === undefined ? {} : { JOBWRIGHT_DIST: library };
}

async function packed(): Promise<string> {
  for (;;) {
    await built();
    if (isLong) return join(root, "dist");
    const sources = builtFrom();
    // Another run builds anew.
    if (sources === undefined) continue;
    const folder = join(PACKS, sources);
    if (isFolder(folder)) return folder;
    mkdirSync(PACKS, { recursive: true });
    const made = mkdtempSync(join(PACKS, "next-"));
    try {
      await pack(made);
      // Built anew meanwhile? Then nobody knows what this was made from.
      if (builtFrom() === sources) put(made, folder);
    } catch (error) {
      if (builtFrom() === sources) throw error;
    } finally {
      rmSync(made, { recursive: true, force: true });
    }
  }
}

/** The sources that `dist` was made from, as a hash. */
function builtFrom(): string | undefined {
  try {
    return (JSON.parse(readFileSync(STAMP, "utf8")) as { sources: string }).sources;
  } catch {
    return undefined;
  }
}

async function pack(folder: string): Promise<void> {
  const input = Object.fromEntries(
    ENTRIES.map((path) => [path.replace(/\.js$/, ""), join(root, "dist", path)]),
  );
  const bundle = await rolldown({
    input,
    platform: "node",
    external: (id) => !/^(?:\.|\/|[A-Z]:)/i.test(id),
  });
  await bundle.write({ dir: folder, format: "esm" });
  await bundle.close();
}

/** In place at once, so that nobody meets half of it; whoever comes second takes the first one's. */
function put(made: string, folder: string): void {
  try {
    renameSync(made, folder);
  } catch (error) {
    if (!isFolder(folder)) throw error;
  }
  for (const name of readdirSync(dirname(folder))) {
    const other = join(dirname(folder), name);
    const changedAt = statSync(other, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (other !== folder && Date.now() - changedAt > OLD_MS) rmSync(other, { recursive: true, force: true });
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
