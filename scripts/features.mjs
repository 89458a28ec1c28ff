// Reads docs/features.md, and judges it by a report of what ran. Used by `scripts/check-features.mjs` after every
// whole test run, and by `test/features.test.ts`.

/** The engines on which a row for "all" storages must be proven. */
export const STORAGES = ["memory", "lmdb", "postgres"];

/** Cases that are defined in one place and run from another one, over every storage. */
const RUN_ELSEWHERE = {
  "src/testing/storage-suite/": "test/storage.test.ts",
  "test/model/": "test/model.test.ts",
};

/** The rows that are built, with the tests that they cite, and those that do not apply, with the reason. */
export function readFeatures(text) {
  const [, builtText = "", notText = ""] = text.split(/^## (?:Built|Does not apply, and why)$/m);
  return {
    built: rowsOf(builtText).map(([row = "", what = "", on = "", proof = ""]) => ({
      ...{ row, what, on },
      citations: citationsIn(proof),
    })),
    notApplying: rowsOf(notText).map(([row = "", why = ""]) => ({ row, why })),
  };
}

/** Files and titles in the order in which a row names them. */
export function citationsIn(proof) {
  const found = [];
  for (const [, file, title] of proof.matchAll(/`([^`]+)`|“([^”]+)”/g)) {
    if (file !== undefined) found.push({ file, titles: [] });
    else found.at(-1)?.titles.push(title);
  }
  return found;
}

/** Where the cases of a file run. */
export function runsIn(file) {
  const elsewhere = Object.keys(RUN_ELSEWHERE).find((folder) => file.startsWith(folder));
  return elsewhere === undefined ? file : RUN_ELSEWHERE[elsewhere];
}

/**
 * What is not as the page says: one line for each cited test that did not run or did not pass, and for each row
 * that is not proven where it says.
 *
 * @param tests what ran: `{ file, name, title, status }`, the file below the project's folder, the name with all
 *   that it stands in
 */
export function problemsIn({ built }, tests) {
  const byFile = groupByFile(tests);
  return built.flatMap(({ row, on, citations }) => {
    const problems = [];
    /** By citation, the storages on which it passed. */
    const provenOn = [];
    let isOfOne = false;
    for (const { file, titles } of citations) {
      for (const title of titles) {
        const pattern = patternOf(title);
        const ran = (byFile.get(runsIn(file)) ?? []).filter((test) => pattern.test(test.title));
        const passed = ran.filter(({ status }) => status === "passed");
        const failed = ran.filter(({ status }) => status === "failed");
        const where = `${row}: ${file}: “${title}”`;
        if (failed.length > 0) problems.push(`${where} failed`);
        else if (ran.length === 0) problems.push(`${where} did not run`);
        else if (passed.length === 0) problems.push(`${where} was skipped`);
        provenOn.push(STORAGES.filter((storage) => passed.some(({ name }) => names(name, storage))));
        isOfOne ||= passed.some(({ name }) => names(name, on)) || (file.includes(on) && passed.length > 0);
      }
    }
    if (problems.length > 0) return problems;
    if (on === "all" && !provenOn.some((storages) => storages.length === STORAGES.length)) {
      return [`${row}: none of its tests passed on each of ${STORAGES.join(", ")}`];
    }
    return STORAGES.includes(on) && !isOfOne ? [`${row}: none of its tests passed on ${on}`] : [];
  });
}

/** What vitest's JSON report tells, as `problemsIn` takes it. */
export function testsIn(report, root) {
  return report.testResults.flatMap(({ name: path, assertionResults }) =>
    assertionResults.map(({ fullName, title, status }) => ({
      file: path.replaceAll("\\", "/").slice(root.length),
      ...{ name: fullName, title, status },
    })),
  );
}

/** A name of a table of cases stands for all of them: `%s`, `$name` and `${…}` are whatever stands there. */
export function patternOf(title) {
  const parts = title.split(/%[sdifjoc]|\$\{[^}]*\}|\$[a-zA-Z_][\w.]*/);
  return new RegExp(
    `^${parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+")}$`,
    "s",
  );
}

function names(text, storage) {
  return new RegExp(`\\b${storage}\\b`, "i").test(text);
}

/** The cells of every row of every table. */
function rowsOf(text) {
  return text
    .split("\n")
    .filter((line) => /^\| [A-M]\d+ \|/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}

function groupByFile(tests) {
  const groups = new Map();
  for (const test of tests) {
    const group = groups.get(test.file);
    if (group === undefined) groups.set(test.file, [test]);
    else group.push(test);
  }
  return groups;
}
