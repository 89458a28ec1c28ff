import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "./support/built.ts";
import { importTableMarkdown, type Part, PARTS, partOf } from "./support/import-table.ts";
import { type Import, importsOf, isTestFile, ownFiles, readOwn } from "./support/source-files.ts";

const LINES_MAX = 400;
/** Tests are lists of cases: length costs them less. */
const TEST_LINES_MAX = 800;

const committed = ownFiles();
const sources = committed.filter((path) => path.startsWith("src/") && path.endsWith(".ts"));
const product = sources.filter((path) => !isTestFile(path));

describe("who may import whom", () => {
  it("is decided for every file of src", () => {
    expect(product.filter((path) => partOf(path.slice("src/".length)) === undefined)).toEqual([]);
    expect(product.length).toBeGreaterThan(10);
  });

  it("is kept to", () => {
    expect(
      product.flatMap((path) => importsOf(readOwn(path)).flatMap((one) => problem(path, one) ?? [])),
    ).toEqual([]);
  });

  it("has no circle among the imports that are there at run time", () => {
    expect(circles()).toEqual([]);
  });

  it("is printed in ARCHITECTURE.md", () => {
    const table = /(?<=<!-- import table -->\n)[\s\S]*?(?=\n<!-- end of import table -->)/;
    const expected = importTableMarkdown();
    const hint = `Between "<!-- import table -->" and "<!-- end of import table -->" ARCHITECTURE.md must have:\n${expected}\n`;
    expect(committed, hint).toContain("ARCHITECTURE.md");
    const text = readOwn("ARCHITECTURE.md");
    if (process.env["JOBWRIGHT_UPDATE"] === "1") {
      writeFileSync(
        `${root}ARCHITECTURE.md`,
        text.replace(table, () => expected),
      );
    }
    expect(table.exec(readOwn("ARCHITECTURE.md"))?.[0], hint).toBe(expected);
  });
});

describe("the check itself", () => {
  it("sees every form of import", () => {
    const text = [
      'import { a } from "./a.ts";',
      'import type { B } from "./b.ts";',
      "import {",
      "  c,",
      '} from "./c.ts";',
      'import { type D } from "./d.ts";',
      'export * from "./e.ts";',
      'export type { F } from "./f.ts";',
      'import "./g.ts";',
      'import type from "./h.ts";',
      'const i = await import("./i.ts");',
      'let j: typeof import("./j.ts");',
      'let k: import("./k.ts").K;',
      "await import(name);",
      '// import("./comment.ts")',
      ' * import { x } from "./comment.ts";',
      'const l = require("./l.ts");',
    ].join("\n");
    expect(importsOf(text).map(({ kind, specifier, line }) => `${line} ${kind} ${specifier}`)).toEqual([
      "1 value ./a.ts",
      "2 type ./b.ts",
      "3 value ./c.ts",
      "6 value ./d.ts",
      "7 value ./e.ts",
      "8 type ./f.ts",
      "9 value ./g.ts",
      "10 value ./h.ts",
      "11 lazy ./i.ts",
      "12 type ./j.ts",
      "13 type ./k.ts",
      "14 lazy (not a literal)",
      "17 lazy ./l.ts",
    ]);
  });

  it.each<[string, Import["kind"], string]>([
    ["src/storage/memory/claim.ts", "value", "../lmdb/claim.ts"],
    ["src/worker/worker.ts", "lazy", "../storage/memory/index.ts"],
    ["src/worker/run.ts", "value", "../jobs.ts"],
    ["src/connect.ts", "value", "./storage/lmdb/index.ts"],
    ["src/job/definition.ts", "type", "../worker/worker.ts"],
    ["src/job/definition.ts", "value", "../worker/context.ts"],
    ["src/jobs.ts", "type", "./testing/index.ts"],
    ["src/worker/run.ts", "value", "lmdb"],
    ["src/worker/run.ts", "lazy", "(not a literal)"],
    ["src/worker/run.ts", "type", "./run.test.ts"],
    ["src/worker/run.ts", "value", "jobwright"],
  ])("refuses %s: %s import of %s", (path, kind, specifier) => {
    expect(problem(path, { kind, specifier, line: 1 })).toContain(`${path}:1`);
  });

  it.each<[string, Import["kind"], string]>([
    ["src/job/definition.ts", "type", "../worker/context.ts"],
    ["src/connect.ts", "lazy", "./storage/lmdb/index.ts"],
    ["src/worker/context.ts", "type", "../jobs.ts"],
    ["src/storage/lmdb/store.ts", "value", "lmdb"],
    ["src/storage/lmdb/store.ts", "value", "node:fs"],
    ["src/storage/memory/claim.ts", "value", "../storage.ts"],
  ])("allows %s: %s import of %s", (path, kind, specifier) => {
    expect(problem(path, { kind, specifier, line: 1 })).toBeUndefined();
  });
});

describe("the form of files", () => {
  it("has names in kebab-case that say what is inside", () => {
    const folders = committed.filter((path) => /^(?:src|test|scripts|examples|bench|docs)\//.test(path));
    const badForm = folders.filter((path) =>
      path
        .replace(/(?:^|\/)README\.md$/, "")
        .split("/")
        .some((name) => !/^\.?[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*$/.test(name)),
    );
    const saysNothing = folders.filter((path) => /(?:^|\/|-)(?:utils?|helpers?|misc)(?:[./-]|$)/.test(path));
    expect({ badForm, saysNothing }).toEqual({ badForm: [], saysNothing: [] });
  });

  it(`has at most ${LINES_MAX} lines in src, ${TEST_LINES_MAX} in a test`, () => {
    const lines = (path: string): number => readOwn(path).split("\n").length - 1;
    const long = sources.filter((path) => lines(path) > (isTestFile(path) ? TEST_LINES_MAX : LINES_MAX));
    expect(long.map((path) => `${path}: ${lines(path)} lines`)).toEqual([]);
  });

  it("has no `any` in src without a reason", () => {
    expect(product.flatMap((path) => unexplainedAny(path, readOwn(path)))).toEqual([]);
    expect(unexplainedAny("x.ts", "let a: any;\nf(b as any);\nlet c: Map<string, any>;")).toHaveLength(3);
    expect(unexplainedAny("x.ts", "// oxlint-disable-next-line x -- why\nlet a: any;\n// : any")).toEqual([]);
  });

  it("switches no rule off without a reason", () => {
    const code = committed.filter((path) => /\.(?:ts|mjs|js)$/.test(path));
    const silent = code.flatMap((path) =>
      readOwn(path)
        .split("\n")
        .flatMap((text, index) =>
          /(?:\/\/|\/\*) (?:oxlint|eslint)-disable(?!.* -- \S)/.test(text) ? `${path}:${index + 1}` : [],
        ),
    );
    expect(silent).toEqual([]);
  });
});

describe("committed files", () => {
  it("name no folder of a machine", () => {
    const home = /(?:^|[\s"'`(=:])(?:\/root\/|\/home\/[a-z_]|\/Users\/[A-Za-z]|[A-Z]:\\Users\\)/;
    // A checkout directly below the system's root has too common a name to look for.
    const here = root.split("/").length > 3 ? root : undefined;
    const naming = committed.filter((path) => {
      const text = readOwn(path);
      return home.test(text) || (here !== undefined && text.includes(here));
    });
    expect(naming).toEqual([]);
  });

  it("name no registry", () => {
    const { host } = new URL(
      execFileSync("npm config get registry --loglevel=notice", {
        shell: true,
        encoding: "utf8",
        cwd: root,
        stdio: "pipe",
      }),
    );
    const naming = committed.filter((path) => {
      const text = readOwn(path);
      return (
        /\bregistry\.[a-z]+\.[a-z]+/.test(text) ||
        (host.length > 4 && host !== "localhost" && text.includes(host))
      );
    });
    expect(naming).toEqual([]);
  });
});

/** What is wrong with an import of a file below `src`, as one line; `undefined` when it is allowed. */
function problem(path: string, { kind, specifier, line }: Import): string | undefined {
  const part = partOf(path.slice("src/".length));
  const where = `${path}:${line} imports ${specifier}`;
  if (part === undefined) return `${where}, and its own part is unknown`;
  if (specifier.startsWith("node:")) return undefined;
  if (!specifier.startsWith(".")) {
    return part.packages?.includes(specifier) ? undefined : `${where}, which ${part.name} may not`;
  }
  const target = posix.join(posix.dirname(path), specifier);
  if (isTestFile(target)) return `${where}, which is a test`;
  const other = partOf(target.slice("src/".length));
  if (other === undefined || !target.startsWith("src/")) return `${where}, which is in no part`;
  return other === part ||
    allowed(part, kind).some((entry) => entry === other.name || `src/${entry}` === target)
    ? undefined
    : `${where}, but ${part.name} may not import ${other.name} (${kind})`;
}

function allowed({ imports, types = [], lazily = [] }: Part, kind: Import["kind"]): readonly string[] {
  if (kind === "type") return [...imports, ...types, ...lazily];
  return kind === "lazy" ? [...imports, ...lazily] : imports;
}

/** Every circle of files that load each other, as "a → b → a". */
function circles(): string[] {
  const loads = new Map(
    product.map((path) => [
      path,
      importsOf(readOwn(path))
        .filter(({ kind, specifier }) => kind === "value" && specifier.startsWith("."))
        .map(({ specifier }) => posix.join(posix.dirname(path), specifier)),
    ]),
  );
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) found.push([...trail.slice(at), path].join(" → "));
    if (at >= 0 || done.has(path)) return;
    for (const next of loads.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of loads.keys()) visit(path, []);
  return found;
}

function unexplainedAny(path: string, text: string): string[] {
  const lines = text.split("\n");
  return lines.flatMap((line, index) => {
    const isComment = /^\s*(?:\*|\/\/|\/\*)/.test(line);
    const uses = /(?:[:<,|&(]\s*|\bas\s+)any\s*(?:[,;)>\]|&={[]|$)/.test(line);
    const explained = /oxlint-disable-next-line .* -- \S/.test(lines[index - 1] ?? "");
    return uses && !isComment && !explained ? [`${path}:${index + 1}: ${line.trim()}`] : [];
  });
}

it("the table names only parts and files that can exist", () => {
  const names = new Set(PARTS.map((part) => part.name));
  const entries = PARTS.flatMap(({ imports, types = [], lazily = [] }) => [...imports, ...types, ...lazily]);
  expect(entries.filter((entry) => !names.has(entry) && !committed.includes(`src/${entry}`))).toEqual([]);
});
