import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { built, root } from "./support/built.ts";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: an example does what it says. Method: run it with Node alone, as a reader would, and compare what
// it prints with its last comment.

const MARK = "\n// prints:\n";
const LINES_MAX = 40;

const examples = ownFiles("examples")
  .map((path) => (path.startsWith("examples/") ? path : `examples/${path}`))
  .filter((path) => /^examples\/[\w-]+\.mjs$/.test(path));

beforeAll(built);

describe("the examples", () => {
  it("are all there", () => {
    expect(examples.map((path) => path.slice("examples/".length))).toEqual([
      "checkpoint.mjs",
      "durable.mjs",
      "hello.mjs",
      "outcomes.mjs",
      "queues-and-priorities.mjs",
      "results.mjs",
      "schedule-and-retry.mjs",
      "shutdown.mjs",
      "test-kit.mjs",
      "zod-payload.mjs",
    ]);
  });

  it.each(examples)("%s prints what its last comment says", async (path) => {
    const [, comment] = readOwn(path).split(MARK);
    const expected = comment?.replaceAll(/^\/\/ ?/gm, "");
    expect(expected?.trim(), `${path} needs a "// prints:" comment at its end`).toBeTruthy();

    const { stdout, stderr } = await promisify(execFile)(process.execPath, [path], { cwd: root });
    expect(stderr).toBe("");
    expect(stdout).toBe(expected);
  });

  it.each(examples)("%s is short", (path) => {
    expect(readOwn(path).split(MARK)[0]?.split("\n").length).toBeLessThan(LINES_MAX);
  });
});
