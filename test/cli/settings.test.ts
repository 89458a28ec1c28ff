import { chownSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/cli/config-file.ts";
import { queuesFrom } from "../../src/cli/values.ts";
import { run } from "./fake-terminal.ts";
import { type Folder, folder } from "./store.ts";

// Goal: what is said nearest wins (flag, environment, file), and a config file that says what it may not is
// refused by name instead of being overlooked.

const SECRET = "s3cret-word";
let place: Folder;
let below: string;

beforeEach(async () => {
  place = folder();
  below = join(place.path, "app", "deep");
  mkdirSync(below, { recursive: true });
  await place.use(async () => undefined);
});
afterEach(() => place[Symbol.dispose]());

function write(name: string, text: string): string {
  const path = join(place.path, name);
  writeFileSync(path, text);
  return path;
}

describe("where the storage is", () => {
  const queues = ["queues", "list", "--json"];
  /** A store with a queue of this name. */
  async function store(name: string): Promise<string> {
    const other = `lmdb:${join(place.path, name)}`;
    mkdirSync(join(place.path, name));
    const { connect } = await import("../../src/connect.ts");
    await using jobs = await connect(other);
    await jobs.pause({ queue: name });
    return other;
  }
  async function foundBy(args: string[], env: Record<string, string>): Promise<unknown> {
    const { out } = await run([...queues, ...args], { cwd: below, env });
    return (JSON.parse(out) as { queues: { queue: string }[] }).queues.map(({ queue }) => queue);
  }

  it("is said by a flag before the environment before a file", async () => {
    const [flag, env] = [await store("flag"), await store("env")];
    await store("file");
    write("jobwright.config.json", '{ "url": "lmdb:./file" }');
    expect(await foundBy(["--url", flag], { JOBWRIGHT_URL: env })).toEqual(["flag"]);
    expect(await foundBy([], { JOBWRIGHT_URL: env })).toEqual(["env"]);
    // The folder is that of the file, not of whoever looks.
    expect(await foundBy([], {})).toEqual(["file"]);
    expect(await foundBy([], { JOBWRIGHT_URL: "" })).toEqual(["file"]);
  });

  it("must be said", async () => {
    const { code, error } = await run(queues, { cwd: below });
    expect(code).toBe(2);
    expect(error).toMatch(/JOBWRIGHT_URL.*jobwright\.config\.json/);
  });

  it("is made by the first job, and by no look", async () => {
    const path = join(place.path, "not yet");
    for (const args of [
      ["stats"],
      ["jobs", "remove", "--all", "--state", "dead", "--yes"],
      ["queues", "pause", "a"],
    ]) {
      const { code, out, error } = await run([...args, "--url", `lmdb:${path}`]);
      expect({ code, out }).toEqual({ code: 3, out: "" });
      expect(error).toContain("There is no store in");
    }
    expect(existsSync(path)).toBe(false);
    expect(await run(["enqueue", "a", "--url", `lmdb:${path}`])).toMatchObject({ code: 0, error: "" });
    expect(await run(["jobs", "show", "1", "--url", `lmdb:${path}`])).toMatchObject({ code: 0, error: "" });
  });

  it("must be a store that outlives the command", async () => {
    expect(await run([...queues, "--url", "memory:"])).toMatchObject({ code: 2, out: "" });
  });
});

describe("a URL with a password", () => {
  it.each([
    [`postgres://u:${SECRET}@127.0.0.1:1/d`, 3],
    [`postgres://u:${SECRET}/x@127.0.0.1:1/d`, 2],
    [`postgres://127.0.0.1:1/d?password=${SECRET}`, 3],
    [`ws://:${SECRET}@127.0.0.1:1`, 3],
    [`wss://:${SECRET}@127.0.0.1:1`, 3],
    [`ws://:${SECRET}@127.0.0.1:1?x`, 2],
    [`ws://:${SECRET}@127.0.0.1:99999`, 2],
    [`mysql://u:${SECRET}@h/d`, 2],
    [`//u:${SECRET}@h/d`, 2],
    [`http://u:${SECRET}@h/d`, 2],
  ])("%s is never shown", async (url, code) => {
    const ways = [
      { args: ["--url", url], env: {} },
      { args: [`--url=${url}`], env: {} },
      { args: [], env: { JOBWRIGHT_URL: url } },
    ];
    const all = await Promise.all(
      ways.map(({ args, env }) => run(["stats", "--timeout", "100ms", ...args], { cwd: below, env })),
    );
    for (const ran of all) {
      expect({ code: ran.code, out: ran.out }).toEqual({ code, out: "" });
      expect(ran.error).toMatch(/^[^\n]+\n$/);
      expect(ran.error).not.toContain(SECRET);
    }
  });

  it.each([
    ["stats", `postgres://u:${SECRET}@h/d`],
    ["stats", `--ulr=postgres://u:${SECRET}@h/d`],
    ["stats", `-u`, `postgres://u:${SECRET}@h/d`],
    [`postgres://u:${SECRET}@h/d`],
    [`--url=postgres://u:${SECRET}@h/d`, "stats"],
    ["jobs", `postgres://u:${SECRET}@h/d`],
    ["serve", "memory:", `--tokn=${SECRET}`],
    ["serve", "memory:", SECRET, SECRET],
  ])("%s %s %s is not shown either where it does not belong", async (...args) => {
    const { code, out, error } = await run(args.filter((one) => one !== undefined));
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).not.toContain(SECRET);
  });
});

describe("a config file", () => {
  it.each([
    ["jobwright.config.json", '{ "queues": { "mail": 5 } }'],
    ["jobwright.config.mjs", "export default { queues: { mail: 5 } };"],
    ["jobwright.config.js", "module.exports = { queues: { mail: 5 } };"],
    ["jobwright.config.ts", "const n: number = 5; export default { queues: { mail: n } } satisfies object;"],
    ["jobwright.config.mts", "export default { queues: { mail: 5 as number } };"],
  ])("may be %s", async (name, text) => {
    write(name, text);
    expect(await loadConfig(below, undefined)).toEqual({ queues: { mail: 5 } });
  });

  // There are no such owners on Windows.
  it.skipIf(process.platform === "win32")("of another user is not run, unless it is named", async () => {
    const file = write("jobwright.config.json", '{ "name": "theirs" }');
    // Lexically below the file, and owned by root.
    const folderOfRoot = join(below, "usr");
    symlinkSync("/usr", folderOfRoot);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) chownSync(file, 12_345, 12_345);
    expect(await loadConfig(folderOfRoot, file)).toEqual({ name: "theirs" });
    const someone = vi.spyOn(process as { getuid: () => number }, "getuid").mockReturnValue(54_321);
    try {
      await expect(loadConfig(folderOfRoot, undefined)).rejects.toThrow("belongs to another user");
      expect(await loadConfig(folderOfRoot, file)).toEqual({ name: "theirs" });
      someone.mockReturnValue(statSync(file).uid);
      expect(await loadConfig(folderOfRoot, undefined)).toEqual({ name: "theirs" });
    } finally {
      someone.mockRestore();
    }
  });

  it("is the nearest one, or the one that is named", async () => {
    const far = write("jobwright.config.json", '{ "name": "far" }');
    write("app/jobwright.config.mjs", 'export default { name: "near" };');
    expect(await loadConfig(below, undefined)).toEqual({ name: "near" });
    expect(await loadConfig(below, far)).toEqual({ name: "far" });
    expect(await loadConfig(below, "../../jobwright.config.json")).toEqual({ name: "far" });
  });

  it("names its folders from where it stands", async () => {
    write(
      "jobwright.config.json",
      JSON.stringify({
        ...{ url: "lmdb:jobs", modules: ["./a.js"] },
        serve: { storage: "lmdb:./store", tokenFile: "tokens", tlsCert: "/etc/cert.pem" },
      }),
    );
    expect(await loadConfig(below, undefined)).toEqual({
      ...{ url: `lmdb:${join(place.path, "jobs")}`, modules: [join(place.path, "a.js")] },
      serve: {
        storage: `lmdb:${join(place.path, "store")}`,
        ...{ tokenFile: join(place.path, "tokens"), tlsCert: "/etc/cert.pem" },
      },
    });
  });

  it.each([
    ["an unknown key", '{ "ulr": "x" }', /"ulr".*Known keys: url, modules/],
    ["an unknown key of serve", '{ "serve": { "adress": "x" } }', /"serve\.adress".*Known keys: storage/],
    ["a key of every object", '{ "__proto__": 1, "constructor": 1 }', /"__proto__"/],
    ["a number for a text", '{ "url": 5 }', /url in .*of type number.*Use a text/],
    [
      "a text for a number",
      `{ "concurrency": "${SECRET}" }`,
      /concurrency in .*of type string.*Use a number/,
    ],
    ["a text for a list", '{ "modules": "a.js" }', /modules in .*Use a list/],
    ["a list of numbers", '{ "modules": [1] }', /modules in /],
    ["an empty URL", '{ "url": "" }', /url in .*empty/],
    ["a list", "[]", /must be an object/],
    ["nothing", "null", /must be an object/],
    ["what is no JSON", `{ "url": "postgres://u:${SECRET}@h/d", }`, /It is not JSON/],
  ])("is refused for %s", async (_, text, message) => {
    write("jobwright.config.json", text);
    const { code, out, error } = await run(["stats"], { cwd: below });
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(message);
    expect(error).toMatch(/^[^\n]+\n$/);
    expect(error).not.toContain(SECRET);
  });

  it("is refused when it fails, is not there, or has a rival", async () => {
    expect((await run(["stats", "--config", "nowhere.json"], { cwd: below })).error).toContain(
      "There is no such file.",
    );
    write("jobwright.config.mjs", 'throw new Error("not today");');
    expect(await run(["stats"], { cwd: below })).toMatchObject({
      ...{ code: 2, error: expect.stringContaining("It cannot be loaded: Error: not today") as string },
    });
    write("jobwright.config.json", "{}");
    expect((await run(["stats"], { cwd: below })).error).toContain(
      "It has jobwright.config.mjs and jobwright.config.json: keep one of them.",
    );
  });

  it("is not looked at for help, or to print SQL", async () => {
    write("jobwright.config.json", "{");
    expect(await run(["stats", "--help"], { cwd: below })).toMatchObject({ code: 0 });
    expect(await run(["migrate", "--sql"], { cwd: below })).toMatchObject({ code: 0 });
  });
});

describe("queues in a command line", () => {
  it.each([
    ["a", undefined, ["a"]],
    ["a,b c", undefined, ["a", "b c"]],
    ["*", undefined, "*"],
    ["a=5,b", undefined, { a: 5, b: 10 }],
    ["a=5,b", 3, { a: 5, b: 3 }],
    ["a=b=2", undefined, { "a=b": 2 }],
    ["a=b", undefined, ["a=b"]],
  ])("%s", (text, concurrency, queues) => {
    expect(queuesFrom(text, concurrency)).toEqual(queues);
  });

  it("may have the name of anything", () => {
    expect(Object.entries(queuesFrom("__proto__=2", undefined))).toEqual([["__proto__", 2]]);
  });

  it.each(["", "a,,b", "*,a", "a,*=3", "=3"])("refuses %j", (text) => {
    expect(() => queuesFrom(text, undefined)).toThrow(/--queues/);
  });
});
