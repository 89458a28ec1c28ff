import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { root } from "./support/built.ts";

// The type tests (`*.test-d.ts`) hold when the whole project compiles: what must be refused stands in
// them under `@ts-expect-error`, which is itself an error where nothing is refused.
it("the sources and all type tests compile", () => {
  const tsc = ["node_modules/typescript/bin/tsc", "--noEmit", "-p", "tsconfig.json"];
  const { status, stdout, stderr, error } = spawnSync(process.execPath, tsc, { cwd: root, encoding: "utf8" });
  expect(error).toBeUndefined();
  expect(status, stdout + stderr).toBe(0);
});
