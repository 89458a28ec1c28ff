import { existsSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { runQuietly } from "./child.mjs";
import { withLock } from "./lock.mjs";
import { Failure, hash, readJson, root, step } from "./project.mjs";

/** Written inside `node_modules` as the last act of an install, so that a half-finished one has none. */
const STAMP = "node_modules/.jobwright-setup";
/** npm writes it as its own last act. */
const NPM_STAMP = "node_modules/.package-lock.json";

/** Install the packages of the lockfile unless they are there. */
export async function ensureInstalled() {
  if (isInstalled()) return;
  await withLock(async (name) => {
    if (isInstalled() || adopt()) return;
    await step("Installing packages (npm ci)", () => install(name));
  });
}

function isInstalled() {
  const stamp = readJson(STAMP);
  if (stamp === undefined || !existsSync(join(root, NPM_STAMP))) return false;
  const { missing, ...key } = stamp;
  return (
    JSON.stringify(key) === JSON.stringify(currentKey()) && absent().every((path) => missing.includes(path))
  );
}

/** Packages somebody installed by hand, complete and by this lockfile: they need no second install. */
function adopt() {
  const stamp = readJson(STAMP);
  const key = currentKey();
  if (stamp !== undefined && (stamp.node !== key.node || stamp.platform !== key.platform)) return false;
  if (!existsSync(join(root, NPM_STAMP)) || !lockFits() || absent().length > 0) return false;
  writeStamp([]);
  return true;
}

async function install(name) {
  rmSync(join(root, STAMP), { force: true });
  // Whatever NODE_ENV or the user's settings say, the tools of development are needed here.
  const flags = ["--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"];
  await runQuietly("npm ci", [...npm(), "ci", ...flags], {
    onPid: name,
    advice:
      "Its first run needs the package registry: is the network up, and `npm config get registry` right?",
    shell: process.platform === "win32" && npm().length === 1,
  });
  const missing = absent();
  const required = missing.filter((path) => !lockedPackages()[path].optional);
  if (required.length > 0)
    throw new Failure(`npm ci left out ${required.join(", ")}. Run it by hand to see why.`);
  writeStamp(missing);
  return missing.length === 0 ? "" : `without ${missing.join(", ")}`;
}

function writeStamp(missing) {
  writeFileSync(join(root, STAMP), `${JSON.stringify({ ...currentKey(), missing })}\n`);
}

function currentKey() {
  return {
    lock: hash([JSON.stringify(lockedPackages()), JSON.stringify(declared(readJson("package.json")))]),
    node: process.versions.node.split(".")[0],
    platform: `${process.platform}-${process.arch}`,
  };
}

/** Whether the lockfile was made for the dependencies package.json has now; if not, npm ci says so. */
function lockFits() {
  return (
    JSON.stringify(declared(readJson("package.json"))) ===
    JSON.stringify(declared(lockedPackages()[""] ?? {}))
  );
}

function declared(manifest) {
  const fields = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
  return fields.map((field) => Object.entries(manifest[field] ?? {}).sort());
}

/** Folders of packages that belong here and are not there in the locked version. */
function absent() {
  return Object.entries(lockedPackages())
    .filter(([path, entry]) => path !== "" && entry.link !== true && belongsHere(entry))
    .filter(([path, entry]) => readJson(`${path}/package.json`)?.version !== entry.version)
    .map(([path]) => path);
}

/** An optional package without a platform is needed by others of some platform, not for itself. */
function belongsHere(entry) {
  return fits(entry) && !(entry.optional && entry.os === undefined && entry.cpu === undefined);
}

function lockedPackages() {
  const lock = readJson("package-lock.json");
  if (lock === undefined)
    throw new Failure("package-lock.json is missing or damaged. Restore it: git checkout package-lock.json");
  return lock.packages;
}

function fits({ os, cpu, libc: wanted }) {
  return (
    allows(os, process.platform) &&
    allows(cpu, process.arch) &&
    (wanted === undefined || allows(wanted, libc()))
  );
}

function allows(list, value) {
  if (list === undefined) return true;
  if (list.includes(`!${value}`)) return false;
  return list.includes(value) || list.every((entry) => entry.startsWith("!"));
}

let libcName;
/** As npm finds it out: Linux without glibc has musl. */
function libc() {
  if (process.platform !== "linux") return "none";
  process.report.excludeNetwork = true;
  libcName ??= process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "glibc";
  return libcName;
}

/** The npm that runs us, else the one beside this Node, else whatever the system finds. */
function npm() {
  const running = process.env.npm_execpath;
  if (running !== undefined && /npm-cli\.c?js$/.test(running)) return [process.execPath, running];
  const beside = join(dirname(process.execPath), "../lib/node_modules/npm/bin/npm-cli.js");
  return existsSync(beside) ? [process.execPath, beside] : ["npm"];
}
