import { statSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { InvalidOptionError } from "../errors.ts";
import { serializeError } from "../job/error.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import type { StateFactory, WorkerSettings } from "../worker/options.ts";
import { collectExports, type LoadedModule } from "./collect-exports.ts";

/** What worker modules hold together: what `jobs.worker()` takes. */
export interface WorkerModules {
  readonly definitions: readonly AnyJobDefinition[];
  /** What one of them exports as `worker`. */
  readonly options: WorkerSettings & { readonly state?: StateFactory<unknown> };
}

const MODULES_MAX = 1_000;

/**
 * Load modules that hold jobs, as `jobwright work` and a {@link Supervisor} do. Every export is looked at, the
 * default one and lists of definitions included; all that has a handler is taken. One module may export worker
 * options as `worker`, with the `state` of its handlers. TypeScript is loaded as it is.
 *
 * @param modules paths, from the working directory, or file URLs
 * @throws InvalidOptionError when a file is missing, fails to load, holds no job, or when two jobs have one name
 * @throws MissingHandlerError when a job has a handler in none of them
 *
 * @example
 * const { definitions, options } = await loadWorkerModules("./dist/worker.js");
 * const worker = jobs.worker(definitions, options);
 */
export async function loadWorkerModules(
  modules: string | URL | readonly (string | URL)[],
): Promise<WorkerModules> {
  const urls = moduleUrls(modules);
  let loaded: LoadedModule[] = [];
  let load = importModule;
  for (let index = 0; index < urls.length; index += 1) {
    const url = urls[index] as URL;
    try {
      loaded.push({ path: fileURLToPath(url), exports: await load(url) });
    } catch (error) {
      if (load === importModule && isForeignSyntax(error)) {
        // All over again: a module that two others share must be loaded once, or its jobs would be there twice.
        load = await transpiling();
        loaded = [];
        index = -1;
      } else throw loadError(fileURLToPath(url), error);
    }
  }
  return collectExports(loaded);
}

/**
 * The files that are meant, each once.
 *
 * @throws InvalidOptionError
 */
export function moduleUrls(modules: string | URL | readonly (string | URL)[]): URL[] {
  const list = typeof modules === "string" || modules instanceof URL ? [modules] : modules;
  if (!Array.isArray(list) || list.length === 0 || list.length > MODULES_MAX) {
    throw new InvalidOptionError("modules", modules, 'Name at least one module, like "./worker.js".');
  }
  const urls = (list as readonly (string | URL)[]).map(moduleUrl);
  return [...new Map(urls.map((url) => [url.href, url])).values()];
}

function moduleUrl(module: string | URL): URL {
  if (typeof module !== "string" && !(module instanceof URL)) {
    throw new InvalidOptionError("modules", module, "Use paths or file URLs.");
  }
  const text = String(module);
  const isUrl = module instanceof URL || text.startsWith("file:");
  if (text === "" || (isUrl && new URL(text).protocol !== "file:")) {
    throw new InvalidOptionError("modules", text, "Use a path or a file URL.");
  }
  const url = isUrl ? new URL(text) : pathToFileURL(text);
  if (statSync(url, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new InvalidOptionError(
      "modules",
      fileURLToPath(url),
      "There is no such file. Name a module that exports jobs.",
    );
  }
  return url;
}

function importModule(url: URL): Promise<object> {
  return import(url.href) as Promise<object>;
}

/** Whether Node itself cannot read what it was given: it knows no TypeScript, or not all of it. */
function isForeignSyntax(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === "ERR_UNKNOWN_FILE_EXTENSION" || code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX";
}

/** Imports that understand TypeScript. Packages are left to Node, so that there is one jobwright. */
async function transpiling(): Promise<(url: URL) => Promise<object>> {
  const { createJiti } = await import("jiti");
  const jiti = createJiti(import.meta.url);
  return (url) => jiti.import(fileURLToPath(url));
}

function loadError(path: string, error: unknown): InvalidOptionError {
  const { name, message } = serializeError(error);
  const problem = new InvalidOptionError("modules", path, `It cannot be loaded: ${name}: ${message}`);
  return Object.defineProperty(problem, "cause", { value: error, configurable: true, writable: true });
}
