import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { ViteUserConfig } from "vitest/config";

const isLong = process.env["JOBWRIGHT_LONG"] === "1";
/** Where a report for machines is wanted, besides the one for people; see .ci/run. */
const report = process.env["JOBWRIGHT_REPORT"];

const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
  exports: Record<string, string | { default: string }>;
};

/** "jobwright" and its subpaths mean the sources, so that tests need no build and cover what is written. */
const alias = Object.entries(manifest.exports).flatMap(([subpath, target]) => {
  if (typeof target === "string") return [];
  const source = target.default.replace("./dist/", "./src/").replace(/\.js$/, ".ts");
  return {
    find: new RegExp(`^jobwright${subpath.slice(1)}$`),
    replacement: fileURLToPath(new URL(source, import.meta.url)),
  };
});

const config: ViteUserConfig = {
  resolve: { alias },
  test: {
    environment: "node",
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Costs nothing until a test asks for PostgreSQL.
    globalSetup: "test/support/global-set-up.ts",
    pool: "forks",
    // The long run measures: its files must not disturb each other.
    fileParallelism: !isLong,
    maxWorkers: isLong ? 1 : Math.min(4, Math.max(2, availableParallelism())),
    testTimeout: isLong ? 600_000 : 60_000,
    hookTimeout: isLong ? 600_000 : 60_000,
    slowTestThreshold: 2_000,
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    coverage: { include: ["src/**/*.ts"], exclude: ["src/**/*.test.ts", "src/**/*.test-d.ts"] },
  },
};

export default config;
