import { fileURLToPath } from "node:url";
import { InvalidOptionError } from "../../errors.ts";

/** The handler of a module, of whatever types it was written for. */
export type AnyHandler = (payload: unknown, ctx: unknown) => unknown;

const TYPESCRIPT = /\.[cm]?tsx?$/;

const known = new Map<string, AnyHandler>();

/**
 * The default export of a module. Loaded once a thread, so what a module keeps at its top level lives as long.
 *
 * @throws what loading it throws
 * @throws InvalidOptionError when its default export is no function
 */
export async function loadHandler(href: string): Promise<AnyHandler> {
  const cached = known.get(href);
  if (cached !== undefined) return cached;
  const loaded = (TYPESCRIPT.test(href) ? await loadTypeScript(href) : await import(href)) as {
    readonly default?: unknown;
  };
  const handler = callable(loaded.default);
  if (handler === undefined) {
    throw new InvalidOptionError("thread", href, "Let the module export the handler as its default export.");
  }
  known.set(href, handler);
  return handler;
}

/** Natively where Node can, and by jiti where it cannot. */
async function loadTypeScript(href: string): Promise<object> {
  const { createJiti } = await import("jiti");
  return createJiti(href, { tryNative: true, interopDefault: false }).import(fileURLToPath(href));
}

/** Modules that were compiled to CommonJS have their default export one level deeper. */
function callable(exported: unknown): AnyHandler | undefined {
  if (typeof exported === "function") return exported as AnyHandler;
  const inner = (exported as { readonly default?: unknown } | null | undefined)?.default;
  return typeof inner === "function" ? (inner as AnyHandler) : undefined;
}
