import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { EXIT } from "../../src/cli/terminal.ts";
import { buildChildren } from "../crash/scene.ts";
import { root } from "../support/built.ts";
import { readOwn } from "../support/source-files.ts";
import { run } from "./fake-terminal.ts";

// Goal: docs/cli.md says what the program says. Method: its blocks of help are compared with the help of every
// command that there is, found by asking. JOBWRIGHT_UPDATE=1 writes them anew.

const PAGE = "docs/cli.md";
const BLOCK = /^```console\n\$ jobwright (.*?)--help\n([\s\S]*?)^```$/gm;

/** Names below a heading of help, up to an empty line. */
function namesIn(help: string, heading: RegExp): string[] {
  const [, list = ""] = new RegExp(`${heading.source}\\n([\\s\\S]*?)(?:\\n\\n|$)`).exec(help) ?? [];
  return [...list.matchAll(/^ {2}([a-z]+)\b/gm)].map(([, name = ""]) => name);
}

/** The help of every command, by its words. */
async function helps(): Promise<Map<string, string>> {
  const found = new Map([["", (await run(["--help"])).out]]);
  for (const name of namesIn(found.get("") ?? "", /\[options\]\n/)) {
    const { code, out, error } = await run([name, "--help"]);
    expect({ code, error }).toEqual({ code: 0, error: "" });
    found.set(`${name} `, out);
    for (const sub of namesIn(out, /Commands:/))
      found.set(`${name} ${sub} `, (await run([name, sub, "--help"])).out);
  }
  return found;
}

it("docs/cli.md has the help of every command", async () => {
  const all = await helps();
  expect([...all.keys()].length).toBeGreaterThanOrEqual(17);
  if (process.env["JOBWRIGHT_UPDATE"] === "1") {
    const text = readOwn(PAGE).replace(
      BLOCK,
      (_, words: string) => `\`\`\`console\n$ jobwright ${words}--help\n${all.get(words) ?? ""}\`\`\``,
    );
    writeFileSync(`${root}${PAGE}`, text);
  }
  const blocks = new Map(
    [...readOwn(PAGE).matchAll(BLOCK)].map(([, words = "", help = ""]) => [words, help]),
  );
  expect(Object.fromEntries(blocks)).toEqual(Object.fromEntries(all));
});

it("help fits a line, and is there whatever stands before it", async () => {
  for (const [words, help] of await helps()) {
    expect(Math.max(...help.split("\n").map((line) => line.length)), words).toBeLessThanOrEqual(100);
  }
  expect(await run(["stats", "--url", "nowhere", "--help"])).toMatchObject({ code: 0, error: "" });
  expect(await run(["jobs", "list", "-h"])).toMatchObject({ code: 0, error: "" });
});

it("docs/cli.md has the exit codes and every key of the config file", async () => {
  const page = readOwn(PAGE);
  for (const code of Object.values(EXIT)) expect(page).toMatch(new RegExp(`^\\| ${code} \\|`, "m"));
  const { error } = await run(["stats", "--config", "test/cli/child/unknown-key.json"], { cwd: root });
  const [, keys = ""] = /Known keys: (.*)\.$/m.exec(error) ?? [];
  expect(keys.split(", ").length).toBeGreaterThan(5);
  for (const key of keys.split(", ")) expect(page).toContain(`\`${key}`);
});

it("starts soon: help needs neither storages nor workers", async () => {
  await buildChildren();
  const dist = process.env["JOBWRIGHT_DIST"] ?? `${root}dist`;
  // Counted instead of timed: each module that is loaded costs about the same.
  const counting = `
    import { register } from "node:module";
    const { port1, port2 } = new MessageChannel();
    register("data:text/javascript," + encodeURIComponent(\`
      let port;
      export function initialize(data) { port = data.port; }
      export async function load(url, context, next) { port.postMessage(url); return next(url, context); }
    \`), { data: { port: port2 }, transferList: [port2] });
    const seen = [];
    const last = "data:text/javascript,//last";
    const told = new Promise((resolve) => {
      port1.on("message", (url) => (url === last ? resolve() : seen.push(url)));
    });
    const { runCommand } = await import(${JSON.stringify(`${dist}/cli/run-command.js`)});
    const terminal = { out() {}, error() {}, env: {}, cwd: "/" };
    await runCommand(JSON.parse(process.argv[1]), terminal);
    await import(last);
    await told;
    port1.close();
    console.log(JSON.stringify(seen));`;
  const loaded = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...["--input-type=module", "--eval", counting, JSON.stringify(args)],
    ]);
    return (JSON.parse(stdout) as string[]).filter((url) => url.startsWith("file:"));
  };
  const version = await loaded("--version");
  expect(version.filter((url) => !url.includes("/cli/"))).toEqual([]);
  const help = await loaded("jobs", "list", "--help");
  expect(help.length).toBeGreaterThan(10);
  expect(
    help.filter((url) => /\/(?:worker|storage|server|supervisor|wire)\/|lmdb|\/pg\/|piscina/.test(url)),
  ).toEqual([]);
});
