import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, extname, join, resolve } from "node:path";
import { InvalidOptionError } from "../errors.ts";
import { serializeError } from "../job/error.ts";
import type { WorkerSettings } from "../worker/options.ts";

/** What a config file may say. A flag and an environment variable win over it. */
export interface Config {
  /** The storage that all commands but `serve` use. */
  readonly url?: string;
  /** For `work`; paths are relative to the file. */
  readonly modules?: readonly string[];
  readonly queues?: NonNullable<WorkerSettings["queues"]>;
  readonly concurrency?: number;
  readonly processes?: number;
  readonly threads?: number;
  readonly name?: string;
  readonly serve?: ServeConfig;
}

/** What it may say for `serve`; paths are relative to the file. */
export interface ServeConfig {
  readonly storage?: string;
  readonly host?: string;
  readonly names?: readonly string[];
  readonly port?: number;
  readonly tokens?: readonly string[];
  readonly tokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly zmq?: string;
  readonly zmqKeyFile?: string;
  readonly zmqClients?: readonly string[];
}

type Kind = "text" | "texts" | "number" | "queues" | "serve";
const CONFIG: Readonly<Record<keyof Config, Kind>> = {
  url: "text",
  modules: "texts",
  queues: "queues",
  concurrency: "number",
  processes: "number",
  threads: "number",
  name: "text",
  serve: "serve",
};
const SERVE: Readonly<Record<keyof ServeConfig, Kind>> = {
  storage: "text",
  host: "text",
  names: "texts",
  port: "number",
  tokens: "texts",
  tokenFile: "text",
  tlsCert: "text",
  tlsKey: "text",
  tlsCa: "text",
  zmq: "text",
  zmqKeyFile: "text",
  zmqClients: "texts",
};
const WANTED: Readonly<Record<Kind, string>> = {
  text: "Use a text.",
  texts: "Use a list of texts.",
  number: "Use a number.",
  queues: 'Use "*", a list of names, or an object of names and slots.',
  serve: `Use an object with any of ${Object.keys(SERVE).join(", ")}.`,
};
/** In this order, when there are several kinds. */
const FILES = ["ts", "mts", "js", "mjs", "json"].map((extension) => `jobwright.config.${extension}`);

/**
 * The config file of a folder: the nearest one in it or above it. URLs of folders and paths in it come
 * back whole.
 *
 * @param named a file to use instead
 * @throws InvalidOptionError when it cannot be read or says what it may not
 */
export async function loadConfig(cwd: string, named: string | undefined): Promise<Config> {
  const path = named === undefined ? findConfig(cwd) : resolve(cwd, named);
  if (path === undefined) return {};
  const content = await read(path);
  check(content, CONFIG, path, "");
  const { url, modules, serve, ...rest } = content as Config;
  const from = dirname(path);
  return {
    ...rest,
    ...(url === undefined ? {} : { url: wholeUrl(url, from) }),
    ...(modules === undefined ? {} : { modules: modules.map((one) => resolve(from, one)) }),
    ...(serve === undefined ? {} : { serve: wholeServe(serve, from) }),
  };
}

function findConfig(cwd: string): string | undefined {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const found = FILES.filter((name) => existsSync(join(folder, name)));
    if (found.length > 1) {
      throw new InvalidOptionError("config file", folder, `It has ${found.join(" and ")}: keep one of them.`);
    }
    if (found[0] !== undefined) return trusted(join(folder, found[0]), cwd);
    if (folder === dirname(folder)) return undefined;
  }
}

/**
 * A config file is a program. Nobody who may write to a folder above this one, as everybody may to `/tmp`, is to have his run here.
 *
 * @throws InvalidOptionError
 */
function trusted(path: string, cwd: string): string {
  const me = process.getuid?.();
  const owner = statSync(path).uid;
  // Where a project belongs to somebody else, as in a container, so do its files.
  if (me === undefined || owner === me || owner === 0 || owner === statSync(cwd).uid) return path;
  throw new InvalidOptionError(
    "config file",
    path,
    "It belongs to another user, who would decide what runs here. If you trust it, name it with --config.",
  );
}

async function read(path: string): Promise<unknown> {
  const problem = (remedy: string): InvalidOptionError => new InvalidOptionError("config file", path, remedy);
  if (!existsSync(path)) throw problem("There is no such file.");
  if (extname(path) === ".json") {
    try {
      return JSON.parse(readFileSync(path, "utf8"));
    } catch {
      // Not quoted: a URL with a password may stand in it.
      throw problem("It is not JSON. Comments and commas at the end are not allowed.");
    }
  }
  const { createJiti } = await import("jiti");
  try {
    return await createJiti(import.meta.url, { fsCache: false }).import(path, { default: true });
  } catch (error) {
    const { name, message } = serializeError(error);
    throw problem(`It cannot be loaded: ${name}: ${message.split("\n", 1)[0]}`);
  }
}

function check(content: unknown, known: Readonly<Record<string, Kind>>, path: string, prefix: string): void {
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new InvalidOptionError(prefix || "config file", path, "It must be an object, the default export.");
  }
  for (const [key, value] of Object.entries(content)) {
    if (!Object.hasOwn(known, key)) {
      const keys = Object.keys(known).join(", ");
      throw new InvalidOptionError(`a key of ${path}`, `${prefix}${key}`, `Known keys: ${keys}.`);
    }
    const kind = known[key] as Kind;
    if (value === undefined) continue;
    if (!fits(value, kind)) {
      // What stands there by mistake may be a secret: only its kind is told.
      throw new InvalidOptionError(`${prefix}${key} in ${path}`, kindOf(value), WANTED[kind]);
    }
    if (kind === "serve") check(value, SERVE, path, "serve.");
  }
}

function fits(value: unknown, kind: Kind): boolean {
  switch (kind) {
    case "text":
      return typeof value === "string" && value !== "";
    case "texts":
      return Array.isArray(value) && value.every((one) => typeof one === "string");
    case "number":
      return typeof value === "number";
    case "queues":
      return value === "*" || (typeof value === "object" && value !== null);
    case "serve":
      return typeof value === "object" && value !== null && !Array.isArray(value);
  }
}

function kindOf(value: unknown): string {
  if (value === "") return "empty";
  return Array.isArray(value) ? "a list" : `of type ${value === null ? "null" : typeof value}`;
}

function wholeServe(serve: ServeConfig, from: string): ServeConfig {
  const { storage, tokenFile, tlsCert, tlsKey, tlsCa, zmqKeyFile } = serve;
  const paths = Object.entries({ tokenFile, tlsCert, tlsKey, tlsCa, zmqKeyFile }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return {
    ...serve,
    ...(storage === undefined ? {} : { storage: wholeUrl(storage, from) }),
    ...Object.fromEntries(paths.map(([key, path]) => [key, resolve(from, path)])),
  };
}

/** A store's folder is where the file that names it says, whichever folder one stands in. */
function wholeUrl(url: string, from: string): string {
  const path = /^lmdb:(?![~]|[a-z]+:|$)(.*)$/s.exec(url)?.[1];
  return path === undefined ? url : `lmdb:${resolve(from, path)}`;
}
