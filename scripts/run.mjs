// The one program behind all npm scripts: `node scripts/run.mjs <verb> [arguments]`.
// It does its own set-up (install, build) and then the work, so that every command of the README works
// in a fresh clone. This file alone must be readable by any Node, however old, to say what is wrong.
// oxlint-disable-next-line unicorn/prefer-node-protocol -- a Node that is too old may not know "node:"
import fs from "fs";

const root = new URL("../", import.meta.url);
const wanted = JSON.parse(fs.readFileSync(new URL("package.json", root), "utf8")).engines.node;
const [major, minor] = wanted.replace(">=", "").split(".").map(Number);
const [ownMajor, ownMinor] = process.versions.node.split(".").map(Number);

if (ownMajor < major || (ownMajor === major && ownMinor < minor)) {
  console.error("jobwright needs Node " + wanted + "; this is Node " + process.versions.node + ".");
  console.error("Install a newer Node from https://nodejs.org and run the command again.");
  process.exitCode = 1;
} else {
  import("./verbs.mjs").then(function (verbs) {
    return verbs.main(process.argv.slice(2));
  });
}
