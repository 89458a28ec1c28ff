// After a whole test run: what docs/features.md promises is what ran and passed.
// Reads the report that vitest wrote to JOBWRIGHT_REPORT.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { problemsIn, readFeatures, testsIn } from "./features.mjs";
import { root } from "./project.mjs";

const report = process.env["JOBWRIGHT_REPORT"] ?? "";
if (!existsSync(report)) {
  console.error("docs/features.md is not checked: there is no report of a test run.");
  process.exitCode = 1;
} else {
  const features = readFeatures(readFileSync(join(root, "docs/features.md"), "utf8"));
  const tests = testsIn(JSON.parse(readFileSync(report, "utf8")), root.replaceAll("\\", "/"));
  const problems = problemsIn(features, tests);
  for (const problem of problems) console.error(problem);
  console.log(
    problems.length === 0
      ? `docs/features.md: ${features.built.length} rows proven by what ran, ${features.notApplying.length} do not apply`
      : `docs/features.md: ${problems.length} of its claims are not proven by what ran`,
  );
  if (problems.length > 0) process.exitCode = 1;
}
