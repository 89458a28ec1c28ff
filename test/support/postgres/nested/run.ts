import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../built.ts";
import { ASK_VARIABLE } from "../ask.ts";
import { isRunning, postmasterFile } from "../processes.ts";
import type { Report } from "./report.ts";

/** Marks of the outer run, whose server is not the one meant inside. */
const OUTER = [ASK_VARIABLE, "TEST", "VITEST", "VITEST_WORKER_ID", "VITEST_POOL_ID", "NODE_ENV"];

/** A vitest inside vitest, with our global set-up, the cases beside this file and temporary files of its own. */
export class NestedRun {
  readonly child: ChildProcess;
  /** Resolves when the process has ended; its workers may outlive it when it was killed. */
  readonly ended: Promise<{ readonly exitCode: number | null; readonly output: string }>;
  readonly #told: string;
  readonly #temporary: string;

  /**
   * Start some of the cases.
   *
   * @param folder for its files; a run in the same folder is the next one on the same machine
   */
  constructor(folder: string, cases: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#temporary = join(folder, "tmp");
    mkdirSync(this.#temporary, { recursive: true, mode: 0o755 });
    this.#told = join(folder, "told");
    writeFileSync(this.#told, "");
    const config = join(folder, "vitest.config.mjs");
    const test = {
      include: cases.map((name) => `test/support/postgres/nested/${name}.case.ts`),
      globalSetup: ["test/support/global-set-up.ts"],
      pool: "forks",
      maxWorkers: 2,
      testTimeout: 120_000,
    };
    writeFileSync(config, `export default ${JSON.stringify({ root, test })};\n`);

    const kept = Object.entries(process.env).filter(([name]) => !OUTER.includes(name));
    // Read as it is, and not by way of a copy in whatever node_modules there is above it.
    const args = ["run", "--config", config, "--configLoader", "runner"];
    this.child = spawn(process.execPath, ["node_modules/vitest/vitest.mjs", ...args], {
      cwd: root,
      env: {
        ...Object.fromEntries(kept),
        NO_COLOR: "1",
        NESTED_REPORT: this.#told,
        TMPDIR: this.#temporary,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => (output += text));
    }
    this.ended = new Promise((resolve) => {
      // Not "close": a worker that outlives its killed run keeps the pipes open.
      this.child.once("exit", (exitCode) => setImmediate(() => resolve({ exitCode, output })));
    });
  }

  /** What the cases have told so far. */
  reports(): (Report & { readonly pid: number })[] {
    return readFileSync(this.#told, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Report & { pid: number });
  }

  /** The folders of servers, and of what they are made of, that are there now. */
  folders(): string[] {
    return readdirSync(this.#temporary)
      .filter((name) => name.startsWith("jobwright-pg-"))
      .map((name) => join(this.#temporary, name));
  }

  /** The servers that run in these folders, by the process id of their postmaster. */
  postmasters(): number[] {
    return this.folders()
      .map((path) => Number(postmasterFile(join(path, "data"))[0]))
      .filter((pid) => pid > 0 && isRunning(pid));
  }
}
