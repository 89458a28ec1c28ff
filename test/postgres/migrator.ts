import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { libraryEnv } from "../support/bundled.ts";
import type { MigrateResult } from "../../src/storage/postgres/migrate.ts";
import type { MigrationText } from "./sample-migrations.ts";

/** What a process is told; see `child/migrator.mjs`. */
export interface MigratorOptions {
  readonly url: string;
  readonly schema: string;
  readonly texts: readonly MigrationText[];
  readonly dieAt?: number;
  readonly deadlineMs?: number;
}

/** How it ended: its result with the number of its steps, or the signal that killed it. */
export interface MigratorEnd {
  readonly result?: MigrateResult & { readonly error?: string };
  readonly steps?: number;
  readonly signal: NodeJS.Signals | null;
}

/** A real process that migrates once it is told to. */
export class Migrator {
  readonly process: ChildProcess;
  readonly ready: Promise<void>;
  readonly ended: Promise<MigratorEnd>;
  #answer: Omit<MigratorEnd, "signal"> = {};

  constructor(options: MigratorOptions) {
    this.process = fork(fileURLToPath(new URL("child/migrator.mjs", import.meta.url)), {
      env: { ...process.env, ...libraryEnv() },
      execArgv: [],
    });
    // Not in the environment: the texts of all migrations are longer than that may be.
    this.process.send(options);
    this.ready = new Promise((resolve, reject) => {
      this.process.once("message", () => resolve());
      this.process.once("exit", (code) =>
        reject(new Error(`A migrator ended with ${code} before it began.`)),
      );
    });
    this.ended = new Promise((resolve) => {
      this.process.on("message", (message: MigratorEnd) => {
        if ("result" in message) this.#answer = message;
      });
      this.process.once("exit", (_, signal) => resolve({ ...this.#answer, signal }));
    });
    // Whoever does not wait for it hears of it at the end.
    this.ready.catch(() => undefined);
  }

  async run(): Promise<MigratorEnd> {
    await this.ready;
    this.go();
    return this.ended;
  }

  go(): void {
    this.process.send("go");
  }

  kill(): void {
    this.process.kill("SIGKILL");
  }
}

/** Several at the same moment. */
export async function together(count: number, options: MigratorOptions): Promise<MigratorEnd[]> {
  const migrators = Array.from({ length: count }, () => new Migrator(options));
  await Promise.all(migrators.map(({ ready }) => ready));
  for (const migrator of migrators) migrator.go();
  return Promise.all(migrators.map(({ ended }) => ended));
}
