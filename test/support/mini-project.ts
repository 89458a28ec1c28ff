import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "./built.ts";

/**
 * A tiny project with our `scripts/` and with stand-ins for npm, the compiler and vitest, which keep a
 * diary. With it the set-up is tested in all its turns, in milliseconds and without a network.
 */
export class MiniProject {
  readonly folder: string = mkdtempSync(join(tmpdir(), "jobwright-set-up-"));

  /** @param template a project to start from as it is, instead of a fresh clone */
  constructor(template?: MiniProject) {
    if (template !== undefined) {
      cpSync(template.folder, this.folder, { recursive: true });
      return;
    }
    cpSync(join(root, "scripts"), join(this.folder, "scripts"), { recursive: true });
    this.write("scripts/check-features.mjs", CHECK);
    this.write("package.json", {
      type: "module",
      engines: { node: ">=20.19" },
      devDependencies: { vitest: "1.0.0" },
    });
    this.write("package-lock.json", lockfile("1.0.0"));
    this.write("src/index.ts", "export const one = 1;");
    this.write("src/job/job.ts", "export const two = 2;");
    this.write("tsconfig.json", {});
    this.write("tsconfig.build.json", {});
    this.write("npm/package.json", { type: "commonjs" });
    this.write("npm/npm-cli.js", NPM);
  }

  write(path: string, content: unknown): void {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), "utf8");
  }

  has(path: string): boolean {
    return existsSync(join(this.folder, path));
  }

  remove(path: string): void {
    rmSync(join(this.folder, path), { recursive: true, force: true });
  }

  /** What the stand-ins did since the last look, one word or line each. */
  diary(): string[] {
    const lines = this.has("diary") ? this.read("diary").trim().split("\n") : [];
    this.remove("diary");
    return lines.filter(Boolean);
  }

  /** Start `node scripts/run.mjs …` in it, as npm does. */
  start(args: readonly string[], env: Record<string, string> = {}): Run {
    const child = spawn(process.execPath, ["scripts/run.mjs", ...args], {
      cwd: this.folder,
      env: { ...process.env, npm_execpath: join(this.folder, "npm/npm-cli.js"), ...env },
      stdio: ["ignore", "pipe", "pipe"],
      // In a session of its own, so that signals reach it as they do without a terminal.
      detached: true,
    });
    return new Run(child);
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** One run of a verb. */
export class Run {
  readonly child: ChildProcess;
  output = "";
  #isOver = false;
  readonly ended: Promise<{ exitCode: number | null; output: string }>;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on("data", (chunk: Buffer) => (this.output += String(chunk)));
    child.stderr?.on("data", (chunk: Buffer) => (this.output += String(chunk)));
    this.ended = new Promise((resolve) => {
      child.once("close", (exitCode) => {
        this.#isOver = true;
        resolve({ exitCode, output: this.output });
      });
    });
  }

  /** Resolves once the run has printed this text. */
  async printed(text: string): Promise<void> {
    while (!this.output.includes(text)) {
      if (this.#isOver) throw new Error(`The run ended without printing "${text}":\n${this.output}`);
      await new Promise((resolve) => {
        this.child.stderr?.once("data", resolve);
        this.child.stdout?.once("data", resolve);
        this.child.once("close", resolve);
      });
    }
  }
}

/** The lockfile of the mini project: packages of any platform, of this one, and of no platform we run on. */
export function lockfile(vitest: string): unknown {
  return {
    lockfileVersion: 3,
    packages: {
      "": { devDependencies: { vitest: "1.0.0" } },
      "node_modules/vitest": { version: vitest, dev: true },
      "node_modules/typescript": { version: "1.0.0", dev: true },
      "node_modules/native-here": {
        version: "1.0.0",
        optional: true,
        os: [process.platform],
        cpu: [process.arch],
      },
      "node_modules/part-of-native-elsewhere": { version: "1.0.0", optional: true },
      "node_modules/native-elsewhere": { version: "1.0.0", optional: true, os: ["plan9"] },
    },
  };
}

/** Stands in for the look at docs/features.md, and tells in a file of its own that it came. */
const CHECK = `
import { appendFileSync } from "node:fs";
appendFileSync("checked", process.env.JOBWRIGHT_REPORT ? "with a report\\n" : "without a report\\n");
process.exitCode = Number(process.env.CHECK_EXIT ?? 0);
`;

// `HANG` stops it halfway, `FAIL` lets it fail with a word.
const NPM = `
const { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
appendFileSync("diary", "npm " + process.argv.slice(2).join(" ") + "\\n");
rmSync("node_modules", { recursive: true, force: true });
const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const put = (path, text) => {
  mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  writeFileSync(path, text);
};
for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === "" || path.includes("elsewhere")) continue;
  if (process.env.LEAVE_OUT_NATIVE && path.includes("native")) continue;
  put(path + "/package.json", JSON.stringify({ version: entry.version }));
  if (process.env.HANG) { writeFileSync("hanging", String(process.pid)); setInterval(() => {}, 1e6); return; }
}
if (process.env.FAIL) { console.error("npm error the network is down"); process.exit(3); }
put("node_modules/typescript/bin/tsc", ${JSON.stringify(`
const { appendFileSync, mkdirSync, readFileSync, writeFileSync } = require("node:fs");
appendFileSync("diary", "tsc\\n");
const out = process.argv[process.argv.indexOf("--outDir") + 1];
mkdirSync(out + "/job", { recursive: true });
for (const file of ["index", "job/job"]) writeFileSync(out + "/" + file + ".js", readFileSync("src/" + file + ".ts", "utf8"));
if (readFileSync("src/index.ts", "utf8").includes("wrong")) { console.log("src/index.ts(1,1): error TS1: wrong"); process.exit(2); }
`)});
put("node_modules/vitest/vitest.mjs", ${JSON.stringify(`
import { appendFileSync } from "node:fs";
appendFileSync("diary", "vitest " + process.argv.slice(2).join(" ") + (process.env.JOBWRIGHT_LONG ? " long" : "") + "\\n");
if (process.env.WAIT) {
  process.on("SIGINT", () => { console.log("child got SIGINT"); setTimeout(() => process.exit(7), 100); });
  console.log("waiting");
  setInterval(() => {}, 1e6);
} else {
  process.exitCode = Number(process.env.EXIT ?? 0);
}
`)});
put("node_modules/.package-lock.json", "{}");
`;
