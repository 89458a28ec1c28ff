import { pathToFileURL } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { json } from "../../src/job/schema.ts";
import { defineJob } from "../../src/job/definition.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { act, buildChildren, builtSupervisor, Stage, TIMEOUT_MS, WAIT } from "./stage.ts";

// Goal: whatever way a module exports its jobs they are found, and what is wrong with one is said with its name.

let stage: Stage;
beforeAll(buildChildren);
beforeEach(() => (stage = new Stage()));
afterEach(() => stage[Symbol.asyncDispose]());

const head = 'import { defineJob, implement, json } from "jobwright";\nconst run = () => 1;\n';

/** The names of what is loaded from these modules, by name. */
async function load(
  files: Readonly<Record<string, string>>,
  names: readonly string[] = Object.keys(files),
): Promise<{
  readonly names: string[];
  readonly options: object;
}> {
  for (const [name, text] of Object.entries(files)) stage.module(name, text);
  const paths = names.map((name) => stage.path(name));
  const { definitions, options } = await builtSupervisor().loadWorkerModules(paths);
  return { names: definitions.map(({ name }) => name), options };
}

describe("loadWorkerModules", () => {
  it("finds jobs under every export, each once, and leaves out what is none", async () => {
    const text = `${head}
      export const a = defineJob({ name: "a", run });
      export const list = [defineJob({ name: "b", run }), [defineJob({ name: "c", run })], 7];
      export const same = a;
      export const fake = { name: "d", run }, nothing = null, text = "e", worker = { concurrency: 3 };
      export default defineJob({ name: "f", run });`;
    const found = await load({ "every.mjs": text });
    expect(found.names.toSorted()).toEqual(["a", "b", "c", "f"]);
    expect(found.options).toEqual({ concurrency: 3 });
  });

  it("finds what a CommonJS module exports in any way", async () => {
    // Node's lexer does not see these names; and an older module cannot import an ESM package.
    const [a, b] = ["a", "b"].map((name) => defineJob({ name, run: () => 1 }));
    Object.assign(globalThis, { jobs: { a, b } });
    stage.module(
      "common.cjs",
      `const { a, b } = globalThis.jobs;
       module.exports = Object.fromEntries([["one", a], ["list", [b]], ["worker", { concurrency: 2 }]]);`,
    );
    const { definitions, options } = await builtSupervisor().loadWorkerModules(stage.path("common.cjs"));
    expect(definitions).toEqual([a, b]);
    expect(options).toEqual({ concurrency: 2 });
  });

  it("leaves out a definition without handler when another module binds one", async () => {
    const producer = `${head}export const a = defineJob({ name: "a" });`;
    const consumer = `${head}import { a } from "./producer.mjs"; export * from "./producer.mjs";
      export const bound = implement(a, run);`;
    const found = await load({ "producer.mjs": producer, "consumer.mjs": consumer });
    expect(found.names).toEqual(["a"]);
    await expect(load({}, ["producer.mjs"])).rejects.toMatchObject({
      code: "JOBWRIGHT_MISSING_HANDLER",
      message: expect.stringContaining('"a" has no handler'),
    });
  });

  it("takes a module that is named twice, and a job that two modules share, once", async () => {
    const found = await load({
      "one.mjs": `${head}export const a = defineJob({ name: "a", run });`,
      "two.mjs": `export * from "./one.mjs";`,
    });
    expect(found.names).toEqual(["a"]);
    const url = pathToFileURL(stage.path("one.mjs"));
    const { definitions } = await builtSupervisor().loadWorkerModules([url, url.href, stage.path("one.mjs")]);
    expect(definitions).toHaveLength(1);
  });

  it.each<[string, Readonly<Record<string, string>>, RegExp]>([
    ["throws", { "bad.mjs": 'throw new RangeError("no such luck")' }, /bad\.mjs".*RangeError: no such luck/],
    ["cannot be parsed", { "bad.mjs": "export const = 1" }, /bad\.mjs".*SyntaxError/],
    ["misses a package", { "bad.mjs": 'import "no-such-package"' }, /bad\.mjs".*no-such-package/],
    ["exports no job", { "bad.mjs": "export const a = 1" }, /bad\.mjs". It exports no job/],
    ["exports only options", { "bad.mjs": "export const worker = {}" }, /bad\.mjs". They export no job/],
    [
      "exports no options as worker",
      { "bad.mjs": 'export const worker = "me"' },
      /`worker` of .*bad\.mjs is "me"/,
    ],
    [
      "has a job of another's name",
      {
        "bad.mjs": `${head}export const a = defineJob({ name: "a", run });`,
        "worse.mjs": `${head}export const b = defineJob({ name: "a", run });`,
      },
      /bad\.mjs and .*worse\.mjs". Two jobs are named "a" there/,
    ],
    [
      "has options beside those of another",
      {
        "bad.mjs": `${head}export const a = defineJob({ name: "a", run }), worker = { concurrency: 1 };`,
        "worse.mjs": `${head}export const b = defineJob({ name: "b", run }), worker = { concurrency: 2 };`,
      },
      /bad\.mjs and .*worse\.mjs". Both export `worker`/,
    ],
  ])("refuses a module that %s", async (_what, files, message) => {
    await expect(load(files)).rejects.toMatchObject({
      code: "JOBWRIGHT_INVALID_OPTION",
      message: expect.stringMatching(message),
    });
  });

  it.each([["missing.mjs"], [""], [[]], ["data:text/javascript,1"], [new URL("https://example.com/x.mjs")]])(
    "refuses %s, where no module is",
    async (modules) => {
      await expect(builtSupervisor().loadWorkerModules(modules)).rejects.toMatchObject({
        code: "JOBWRIGHT_INVALID_OPTION",
      });
    },
  );
});

describe("TypeScript modules and several at once", { timeout: TIMEOUT_MS }, () => {
  const lmdb = storages.find(({ label }) => label === "lmdb") as StorageKind;
  afterEach(lmdb.cleanup);

  // An enum needs more than the removal of types.
  const typed = `import { defineJob, json, snooze } from "jobwright";
    import { double } from "./typed-part.ts";
    enum Part { Half = 0.5, Whole = 1 }
    export const compute = defineJob({
      name: "compute",
      payload: json<{ n: number }>(),
      run: async ({ n }, ctx): Promise<unknown> => {
        if ((await ctx.checkpoint.get("seen")) === true) return double(n) * Part.Half;
        await ctx.checkpoint.set("seen", true);
        return snooze(1);
      },
    });`;

  it.each(["processes", "threads"] as const)(
    "work in %s: each job goes to whoever has its module",
    async (children) => {
      stage.module("typed.ts", typed);
      stage.module("typed-part.ts", "export function double(n: number): number { return n * 2; }");
      const url = await lmdb.url();
      const mixed = stage.supervisor({
        modules: [stage.path("typed.ts"), stage.module("worker.mjs")],
        url,
        [children]: 1,
      });
      const other = stage.supervisor({
        modules: stage.module("other.mjs"),
        url,
        [children]: 1,
        worker: { name: "other" },
      });
      await Promise.all([mixed.supervisor.start(), other.supervisor.start()]);
      const jobs = await stage.connect(url);
      // Its result shows that snooze() was understood: the modules and the worker share one jobwright.
      const compute = await jobs.enqueue(defineJob({ name: "compute", payload: json() }), { n: 21 });
      const greet = await jobs.enqueue(defineJob({ name: "greet", payload: json() }), { who: "Ada" });
      const acted = await jobs.enqueue(act, { act: "return", log: stage.log });
      expect(await compute.result(WAIT)).toBe(21);
      expect(await greet.result(WAIT)).toBe("Hello, Ada!");
      expect(await acted.result(WAIT)).toMatchObject({ attempt: 1 });
      const processes = (await jobs.processes()).map(({ name, queues }) => [name, queues]);
      expect(processes).toContainEqual([
        undefined,
        [{ queue: "default", names: ["compute", "act"], concurrency: 1 }],
      ]);
      expect(processes).toContainEqual([
        "other-1",
        [{ queue: "default", names: ["greet"], concurrency: 10 }],
      ]);
    },
  );
});
