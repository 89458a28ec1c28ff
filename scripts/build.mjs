import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runQuietly } from "./child.mjs";
import { withLock } from "./lock.mjs";
import { hash, readJson, root, step } from "./project.mjs";

/** Written as the last act of a build: the hash of everything it was made from. */
const STAMP = "node_modules/.jobwright-build";
const NEXT = "dist.next";

/** Compile `src` to `dist` unless it was made from exactly these sources. */
export async function ensureBuilt() {
  if (isBuilt()) return;
  await withLock(async (name) => {
    if (isBuilt()) return;
    await step("Building (tsc)", () => build(name));
  });
}

function isBuilt() {
  const sources = sourcePaths();
  return readJson(STAMP)?.sources === sourceHash(sources) && sources.every(hasOutput);
}

async function build(name) {
  // The sources may change while the compiler reads them; then the next call builds again.
  const sources = sourceHash(sourcePaths());
  rmSync(join(root, STAMP), { force: true });
  rmSync(join(root, NEXT), { recursive: true, force: true });
  try {
    const tsc = ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", NEXT];
    await runQuietly("tsc -p tsconfig.build.json", [process.execPath, ...tsc], { onPid: name });
    // Built aside and put in place at once: a program that runs from `dist` never meets half of it.
    const old = join(root, "dist.old");
    rmSync(old, { recursive: true, force: true });
    if (existsSync(join(root, "dist"))) renameSync(join(root, "dist"), old);
    renameSync(join(root, NEXT), join(root, "dist"));
    rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(join(root, NEXT), { recursive: true, force: true });
  }
  writeFileSync(join(root, STAMP), `${JSON.stringify({ sources })}\n`);
}

function sourceHash(paths) {
  const inputs = ["tsconfig.json", "tsconfig.build.json", "node_modules/typescript/package.json", ...paths];
  return hash(inputs.flatMap((path) => [path, readFileSync(join(root, path), "utf8")]));
}

function sourcePaths() {
  return readdirSync(join(root, "src"), { recursive: true })
    .map((path) => `src/${path.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts") && !/\.test(-d)?\.ts$/.test(path))
    .sort();
}

/** Declarations (`.d.ts`) are read by the compiler and leave nothing behind. */
function hasOutput(source) {
  const output = source.replace(/^src\//, "dist/").replace(/\.ts$/, ".js");
  return source.endsWith(".d.ts") || existsSync(join(root, output));
}
