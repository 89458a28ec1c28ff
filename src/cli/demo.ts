import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { CommandModule } from "./command.ts";
import { EXIT } from "./terminal.ts";

interface Options {
  readonly workers?: string;
  readonly fresh?: true;
  readonly store?: string;
  readonly url?: string;
}

const PROGRAM = new URL("../../examples/duplicates/main.mjs", import.meta.url);

/** Shows what the package does, in a minute: the program lies in it as an example. */
export const demo: CommandModule = (command, bind) => {
  command
    .description("Finds duplicate files with three worker processes, and kills one of them halfway.")
    .argument("[folder]", "where to look (default: the packages that are installed)")
    .option("--workers <n>", "processes that work (default: 3)")
    .option("--fresh", "begin anew instead of going on with an interrupted run")
    .option("--store <folder>", "where to keep the jobs (default: a folder for temporary files)")
    .option("--url <url>", "keep the jobs in PostgreSQL instead: postgres://user:password@host/database");
  bind<Options>(command, async ([folder], { workers, fresh, store, url }) => {
    const args = [
      ...(folder === undefined ? [] : [folder]),
      ...(workers === undefined ? [] : ["--workers", workers]),
      ...(fresh === true ? ["--fresh"] : []),
      ...(store === undefined ? [] : ["--store", store]),
      ...(url === undefined ? [] : ["--url", url]),
    ];
    const child = spawn(process.execPath, [fileURLToPath(PROGRAM), ...args], { stdio: "inherit" });
    // It stops in order by itself, and says so: a terminal's Ctrl-C reaches both.
    const wait = (): void => undefined;
    const passOn = (): void => void child.kill("SIGTERM");
    process.on("SIGINT", wait);
    process.on("SIGTERM", passOn);
    const [code] = (await once(child, "exit")) as [number | null];
    process.off("SIGINT", wait);
    process.off("SIGTERM", passOn);
    return code === 0 ? EXIT.done : EXIT.failed;
  });
};
