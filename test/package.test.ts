import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { built, root } from "./support/built.ts";
import { command } from "./support/command.ts";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: what npm would publish works for somebody who has nothing else.
// Method: pack it, install the tarball in an empty folder with install scripts off, and use it from there.

const names = JSON.parse(readOwn("test/public-names.json")) as Record<
  string,
  { values: string[]; types: string[] }
>;
const subpaths = Object.keys(names);
const specifier = (subpath: string): string => `jobwright${subpath.slice(1)}`;

let folder: string;
let packed: { filename: string; unpackedSize: number; files: { path: string }[] };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "jobwright-package-"));
  await built();
  const output = await command(
    "npm",
    ["pack", "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", folder],
    root,
  );
  packed = (JSON.parse(output) as (typeof packed)[])[0] ?? { filename: "", unpackedSize: 0, files: [] };
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "consumer", private: true, type: "module" }),
  );
  // What `npm ci` fetched for this checkout is in npm's cache; only what is not there is fetched now.
  await command(
    "npm",
    [
      "install",
      "--ignore-scripts",
      "--prefer-offline",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
      `./${packed.filename}`,
    ],
    folder,
  ).catch((error: unknown) => {
    throw new Error("The packed tarball cannot be installed. Is the package registry reachable?", {
      cause: error,
    });
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the package", () => {
  it("holds every module with its types, and what people read", () => {
    const paths = packed.files.map(({ path }) => path);
    const modules = ownFiles("src")
      .filter((path) => path.endsWith(".ts") && !/\.(?:test|test-d|d)\.ts$/.test(path))
      .map((path) => path.replace(/^src\//, "dist/").replace(/\.ts$/, ""));
    const wanted = modules.flatMap((path) => [`${path}.js`, `${path}.d.ts`]);
    expect(paths).toEqual(
      expect.arrayContaining([...wanted, "package.json", "LICENSE", "README.md", "CHANGELOG.md"]),
    );
  });

  it("holds nothing else than modules, their sources and what people read", () => {
    const other = packed.files
      .map(({ path }) => path)
      .filter(
        (path) =>
          !/^dist\/[\w/-]+\.(?:js|d\.ts)(?:\.map)?$/.test(path) &&
          !/^src\/[\w/-]+(?:\.d)?\.ts$/.test(path) &&
          // What `jobwright demo` runs.
          !/^examples\/duplicates\/[\w-]+\.mjs$/.test(path),
      );
    const read = ["ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "README.md", "package.json"];
    expect(other.filter((path) => !read.includes(path))).toEqual([]);
    expect(packed.unpackedSize).toBeLessThan(7_000_000);
  });

  it("gives a module exactly its public names", async () => {
    writeFileSync(
      join(folder, "names.mjs"),
      subpaths.map((path, index) => `import * as m${index} from "${specifier(path)}";`).join("\n") +
        `\nconsole.log(JSON.stringify([${subpaths.map((_, index) => `Object.keys(m${index})`).join()}]));`,
    );
    const found = JSON.parse(await command(process.execPath, ["names.mjs"], folder)) as string[][];
    expect(Object.fromEntries(subpaths.map((path, index) => [path, found[index]?.toSorted()]))).toEqual(
      Object.fromEntries(subpaths.map((path) => [path, names[path]?.values.toSorted()])),
    );
  });

  it("shows what it does when its demo is called", async () => {
    const files = join(folder, "some files");
    mkdirSync(files);
    for (let n = 0; n < 40; n += 1) writeFileSync(join(files, `${n}.txt`), `text ${n % 30}`);
    const program = join(folder, "node_modules/jobwright/dist/cli/main.js");
    const store = join(folder, "demo");
    const said = await command("node", [program, "demo", files, "--workers", "2", "--store", store], folder);
    expect(said).toMatch(/files found 4\d, .*lost 0/s);
  });

  it("can be required by CommonJS", async () => {
    writeFileSync(
      join(folder, "names.cjs"),
      'console.log(JSON.stringify(Object.keys(require("jobwright"))));',
    );
    const found = JSON.parse(await command(process.execPath, ["names.cjs"], folder)) as string[];
    expect(found.filter((name) => name !== "__esModule").toSorted()).toEqual(names["."]?.values.toSorted());
  });

  it.each(["memory:", "lmdb:./store"])("does a job on %s", async (url) => {
    writeFileSync(
      join(folder, "job.mjs"),
      `import { connect, defineJob } from "jobwright";
      const greet = defineJob({ name: "greet", run: ({ who }) => "Hello, " + who + "!" });
      const jobs = await connect(${JSON.stringify(url)});
      const worker = jobs.worker([greet]);
      await worker.start();
      const handle = await jobs.enqueue(greet, { who: "world" });
      console.log(await handle.result({ timeout: "30s" }));
      await worker.stop();
      await jobs.close();`,
    );
    expect(await command(process.execPath, ["job.mjs"], folder)).toBe("Hello, world!\n");
  });

  it("gives a strict TypeScript program its types", async () => {
    const all = subpaths.map((path) => {
      const { values, types } = names[path] ?? { values: [], types: [] };
      const as = specifier(path).replaceAll(/\W/g, "_");
      const list = [...values, ...types.map((name) => `type ${name}`)].map(
        (name) => `${name} as ${as}_${name.replace("type ", "")}`,
      );
      return `export { ${list.join(", ")} } from "${specifier(path)}";`;
    });
    writeFileSync(join(folder, "names.mts"), all.join("\n"));
    writeFileSync(
      join(folder, "job.mts"),
      `import { defineJob, json } from "jobwright";
      const greet = defineJob({ name: "greet", payload: json<{ who: string }>(), run: ({ who }) => who.length });
      export const name: "greet" = greet.name;
      // @ts-expect-error a length has no letters
      defineJob({ name: "greet", payload: json<{ who: number }>(), run: ({ who }) => who.length });`,
    );
    const compilerOptions = {
      target: "es2023",
      lib: ["es2023", "esnext.disposable"],
      module: "nodenext",
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
      types: ["node"],
      typeRoots: [join(root, "node_modules/@types")],
    };
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["names.mts", "job.mts"] }),
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    expect(await command(process.execPath, [tsc, "-p", folder], folder)).toBe("");
  });

  it("names its own version in CHANGELOG.md", () => {
    const { version } = JSON.parse(
      readFileSync(join(folder, "node_modules/jobwright/package.json"), "utf8"),
    ) as {
      version: string;
    };
    expect(readOwn("CHANGELOG.md")).toMatch(new RegExp(`^## ${version.replaceAll(".", "\\.")}\\b`, "m"));
  });
});
