import { InvalidOptionError, MissingHandlerError } from "../errors.ts";
import { type AnyJobDefinition, hasHandler } from "../job/definition.ts";
import type { WorkerModules } from "./load-modules.ts";

/** A module and what it exports. */
export interface LoadedModule {
  readonly path: string;
  readonly exports: object;
}

/** Lists in lists, and definitions of one module, beyond which something else was meant. */
const DEPTH_MAX = 3;

/**
 * The jobs and the worker options that modules export.
 *
 * @throws InvalidOptionError or MissingHandlerError
 */
export function collectExports(modules: readonly LoadedModule[]): WorkerModules {
  const bound = new Map<string, { readonly definition: AnyJobDefinition; readonly path: string }>();
  const unbound = new Set<string>();
  let options: { readonly value: WorkerModules["options"]; readonly path: string } | undefined;
  for (const { path, exports } of modules) {
    const definitions = definitionsOf(exports);
    for (const definition of definitions) {
      const { name } = definition;
      const other = bound.get(name);
      if (!hasHandler(definition)) unbound.add(name);
      else if (other === undefined) bound.set(name, { definition, path });
      else if (other.definition !== definition) throw twice(name, other.path, path);
    }
    const value = workerOf(exports, path);
    if (definitions.size === 0 && value === undefined) {
      throw new InvalidOptionError(
        "modules",
        path,
        "It exports no job. Export what defineJob() or implement() returns.",
      );
    }
    if (value === undefined) continue;
    if (options !== undefined && options.value !== value) {
      const both = `${options.path} and ${path}`;
      throw new InvalidOptionError("modules", both, "Both export `worker`. Keep the options in one of them.");
    }
    options = { value, path };
  }
  const without = [...unbound].filter((name) => !bound.has(name));
  if (without.length > 0) throw new MissingHandlerError(without.join('", "'));
  if (bound.size === 0) {
    throw new InvalidOptionError(
      "modules",
      modules.map(({ path }) => path).join(", "),
      "They export no job.",
    );
  }
  return {
    definitions: [...bound.values()].map(({ definition }) => definition),
    options: options?.value ?? {},
  };
}

function twice(name: string, first: string, second: string): InvalidOptionError {
  const where = first === second ? first : `${first} and ${second}`;
  const remedy = `Two jobs are named ${JSON.stringify(name)} there. Give one another name, or leave one out.`;
  return new InvalidOptionError("modules", where, remedy);
}

function definitionsOf(exports: object): Set<AnyJobDefinition> {
  const found = new Set<AnyJobDefinition>();
  const look = (value: unknown, depth: number): void => {
    if (isDefinition(value)) found.add(value);
    else if (Array.isArray(value) && depth < DEPTH_MAX) for (const one of value) look(one, depth + 1);
  };
  for (const value of Object.values(exports)) look(value, 0);
  // What a CommonJS module exports comes as its default.
  for (const value of Object.values(plainDefault(exports))) look(value, 0);
  return found;
}

function workerOf(exports: object, path: string): WorkerModules["options"] | undefined {
  const { worker = (plainDefault(exports) as { worker?: unknown }).worker } = exports as { worker?: unknown };
  if (worker === undefined || isDefinition(worker)) return undefined;
  if (typeof worker === "object" && worker !== null && !Array.isArray(worker))
    return worker as WorkerModules["options"];
  throw new InvalidOptionError(
    `\`worker\` of ${path}`,
    worker,
    "Export worker options, like { concurrency: 5 }.",
  );
}

function plainDefault(exports: object): object {
  const value = (exports as { default?: unknown }).default;
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isDefinition(value)
    ? value
    : {};
}

/** By shape: the jobwright that a module uses may have been loaded twice. */
function isDefinition(value: unknown): value is AnyJobDefinition {
  if (typeof value !== "object" || value === null || !Object.isFrozen(value)) return false;
  const { name, schema, options, run } = value as Partial<Record<keyof AnyJobDefinition, unknown>>;
  return (
    typeof name === "string" &&
    typeof options === "object" &&
    options !== null &&
    (typeof schema === "object" || typeof schema === "function") &&
    schema !== null &&
    "~standard" in schema &&
    (run === undefined || typeof run === "function")
  );
}
