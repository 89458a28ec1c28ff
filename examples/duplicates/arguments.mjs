// @ts-check
import { existsSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Refusal } from "./refusal.mjs";

const WORKERS_MAX = 64;

/**
 * What the command line says.
 *
 * @param {string[]} args
 * @throws {Refusal}
 */
export async function readArguments(args) {
  const { values, positionals } = parse(args);
  const workers = Number(values.workers ?? 3);
  if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) {
    throw new Refusal(`--workers is ${values.workers}. Use a number from 1 to ${WORKERS_MAX}.`);
  }
  if (positionals.length > 1) throw new Refusal(`One folder at a time; ${positionals.length} were given.`);
  const [given] = positionals;
  return {
    folder: await existing(given === undefined ? ownModules() : resolve(callersFolder(), given)),
    workers,
    fresh: values.fresh === true,
    store: values.store === undefined ? undefined : resolve(callersFolder(), values.store),
    url: values.url === undefined ? undefined : database(values.url),
  };
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        workers: { type: "string" },
        fresh: { type: "boolean" },
        store: { type: "string" },
        url: { type: "string" },
      },
    });
  } catch (error) {
    // The first sentence says what is wrong; the rest is about quoting.
    const [what] = /** @type {Error} */ (error).message.split(". ");
    const usage = "[folder] [--workers n] [--fresh] [--store folder] [--url postgres://…]";
    throw new Refusal(`${what}. Use: npm run demo -- ${usage}`);
  }
}

/**
 * Nothing of it is quoted: it may hold a password.
 *
 * @param {string} url
 */
function database(url) {
  if (!/^postgres(ql)?:\/\//i.test(url)) {
    throw new Refusal("--url is no URL of PostgreSQL. Use one like postgres://user:password@host/database.");
  }
  if (/[?&]schema=/.test(url)) throw new Refusal("--url names a schema. The demo makes one of its own.");
  return url;
}

/**
 * The folder's true path, as bytes: not every name is text.
 *
 * @param {string} folder
 */
async function existing(folder) {
  try {
    if ((await stat(folder)).isDirectory()) return await realpath(folder, { encoding: "buffer" });
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new Refusal(
      code === "ENOENT" ? `There is no folder ${folder}` : `${folder} cannot be read: ${code}`,
    );
  }
  throw new Refusal(`${folder} is no folder.`);
}

function ownModules() {
  const own = fileURLToPath(new URL("../../node_modules", import.meta.url));
  // Where this is a package among others, they are the folder around it.
  return existsSync(own) ? own : fileURLToPath(new URL("../../..", import.meta.url));
}

/** npm runs scripts in the folder of package.json, and keeps in a variable where it was called. */
function callersFolder() {
  return (process.env.npm_lifecycle_event === "demo" && process.env.INIT_CWD) || process.cwd();
}
