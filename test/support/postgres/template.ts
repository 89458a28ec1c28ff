import { execFile } from "node:child_process";
import { appendFileSync, cpSync, existsSync, readFileSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { BinaryPackage, Programs } from "./find.ts";
import { makeServerFolder, serverUser } from "./folder.ts";
import type { Guard } from "./guard.ts";

/** What every server of a run starts from: the program and an initialised data folder to copy. */
export interface Template {
  readonly postgres: string;
  readonly data: string;
}

/**
 * For every server of the tests. Instances share a machine with others, so shared memory other than the
 * main block is made of files that go with the folder, where containers allow little of it. A plan that looks
 * expensive would be compiled, on every connection anew, which takes longer than all that is tested with it.
 */
const SETTINGS = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 1200
dynamic_shared_memory_type = mmap
jit = off
log_line_prefix = '%m [%p] %q%a '
`;

/** Initialise a data folder once; a server's own is a copy, which takes a tenth of the time. */
export async function makeTemplate(
  found: Programs | BinaryPackage,
  folder: string,
  guard: Guard,
): Promise<Template> {
  const { initdb, postgres } = found.kind === "package" ? unpack(found, folder) : found;
  const data = makeServerFolder(join(folder, "template"));
  const args = ["-D", data, "-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"];
  await asServer(initdb, args, folder, (pid) => guard.watch(pid));
  guard.watch(undefined);
  appendFileSync(join(data, "postgresql.conf"), SETTINGS);
  return { postgres, data };
}

export async function copyTemplate(template: Template, data: string): Promise<void> {
  await asServer("cp", ["-R", "-p", `${template.data}/.`, data], dirname(data));
}

/**
 * The package's files in a place that the server's user can enter, wherever the repository is, and with
 * the links that its install script would make, which nobody runs.
 */
function unpack(found: BinaryPackage, folder: string): { initdb: string; postgres: string } {
  const native = join(folder, "native");
  cpSync(found.native, native, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const path = join(folder, target);
    if (!existsSync(path)) symlinkSync(basename(source), path);
  }
  return { initdb: join(native, "bin/initdb"), postgres: join(native, "bin/postgres") };
}

/** Run a program to its end as the user that owns the servers' files. */
function asServer(
  program: string,
  args: readonly string[],
  cwd: string,
  onPid?: (pid: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { ...serverUser, cwd, timeout: 120_000 },
      (error, out, problems) => {
        if (error === null) resolve();
        else reject(new Error(`${program} failed: ${error.message}\n${out}${problems}`));
      },
    );
    if (child.pid !== undefined) onPid?.(child.pid);
  });
}
