import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ViteUserConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

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

/**
 * Every Node reads and checks the certificates of this variable when it starts, which can take longer than all else it
 * does then. Only npm talks to other machines; test/support/command.ts gives it the variable back.
 */
const certificates = process.env["NODE_EXTRA_CA_CERTS"];
if (certificates) {
  process.env["JOBWRIGHT_TEST_CERTIFICATES"] = certificates;
  delete process.env["NODE_EXTRA_CA_CERTS"];
}

const all = ["src/**/*.test.ts", "test/**/*.test.ts"];
/** A process of its own for what ends processes, measures, or replaces a module before anybody has loaded it. */
const apart = [
  "src/storage/lmdb/durable.test.ts",
  "test/{bench,demo,examples,flat,package,set-up}.test.ts",
  "test/lmdb/opening.test.ts",
  "test/postgres/{completion-kills,idle,set-up}.test.ts",
  "test/server/{crowd,fuzz,slow}.test.ts",
  "test/worker/{liveness,threads,threads-isolation}.test.ts",
];

/** The files that share a process one after the other, and last: then their process is not ended between them. */
class ApartFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isApart = ({ project }: TestSpecification): boolean => project.config.isolate;
    return [...sorted.filter(isApart), ...sorted.filter((file) => !isApart(file))];
  }
}

const config: ViteUserConfig = {
  resolve: { alias },
  test: {
    environment: "node",
    sequence: { sequencer: ApartFirst },
    // For a quick file it takes longer to load the sources than to test them, so the others share processes.
    projects: isLong
      ? [{ extends: true, test: { name: "long", include: all } }]
      : [
          { extends: true, test: { name: "apart", include: apart } },
          { extends: true, test: { name: "together", include: all, exclude: apart, isolate: false } },
        ],
    // Costs nothing until a test asks for PostgreSQL.
    globalSetup: "test/support/global-set-up.ts",
    pool: "forks",
    // The long run measures: its files must not disturb each other.
    fileParallelism: !isLong,
    // Many tests wait for other processes or for a time to pass: on two cores two more files fill the gaps.
    maxWorkers: isLong ? 1 : 4,
    testTimeout: isLong ? 600_000 : 60_000,
    hookTimeout: isLong ? 600_000 : 60_000,
    slowTestThreshold: 2_000,
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    coverage: { include: ["src/**/*.ts"], exclude: ["src/**/*.test.ts", "src/**/*.test-d.ts"] },
  },
};

export default config;
