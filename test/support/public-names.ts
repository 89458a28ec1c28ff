import { posix } from "node:path";
import { ownFiles, readOwn } from "./source-files.ts";

/** One name a module exports, and where it is declared. */
export interface ExportedName {
  readonly name: string;
  readonly kind: "value" | "type";
  /** Whether its declaration has a docstring. */
  readonly documented: boolean;
  /** The file of its declaration. */
  readonly path: string;
}

// Exports are written by hand in a few plain forms; whatever else begins with `export` is an error below.
const LIST = /^export\s+(type\s+)?\{([^}]*)\}(?:\s+from\s+"([^"]+)")?;/gm;
const DECLARATION =
  /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(class|function\*?|const|let|interface|type)\s+([\w$]+)/gm;
const STAR = /^export\s+(type\s+)?\*\s+from\s+"([^"]+)";/gm;
const ANY_EXPORT = /^export\b(?!\s*\{\s*\};)/gm;

/** The names a module exports, values and types, in the order of the alphabet. */
export function exportedNames(path: string): ExportedName[] {
  const text = readOwn(path);
  const names: ExportedName[] = [];
  for (const [, keyword, name = ""] of text.matchAll(DECLARATION)) {
    const kind = keyword === "interface" || keyword === "type" ? "type" : "value";
    if (names.some((other) => other.name === name && other.kind === kind)) continue; // an overload
    names.push({ name, kind, documented: hasDocstring(text, name), path });
  }
  for (const [, allTypes, list = "", from] of text.matchAll(LIST)) {
    for (const item of list
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean)) {
      const [, isType, local = "", alias = local] =
        /^(type\s+)?([\w$]+)(?:\s+as\s+([\w$]+))?$/.exec(item) ?? [];
      const origin = from === undefined ? importedFrom(path, text, local) : { from, name: local };
      const target =
        origin === undefined ? undefined : declarationOf(resolve(path, origin.from), origin.name);
      const declared = target ?? {
        kind: "value" as const,
        documented: hasDocstring(text, local),
        path,
      };
      names.push({ ...declared, name: alias, kind: allTypes || isType ? "type" : declared.kind });
    }
  }
  for (const [, allTypes, from = ""] of text.matchAll(STAR)) {
    for (const one of exportedNames(resolve(path, from)))
      names.push(allTypes ? { ...one, kind: "type" } : one);
  }
  const statements = text.match(ANY_EXPORT)?.length ?? 0;
  const understood = [LIST, DECLARATION, STAR].reduce(
    (sum, form) => sum + [...text.matchAll(form)].length,
    0,
  );
  if (statements !== understood) {
    throw new Error(
      `${path} has an export of another form than a list or a declaration: write it as a list.`,
    );
  }
  return names.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function declarationOf(path: string, name: string): ExportedName {
  const found = exportedNames(path).find((other) => other.name === name);
  if (found === undefined) throw new Error(`${path} does not export ${name}.`);
  return found;
}

function importedFrom(path: string, text: string, local: string): { from: string; name: string } | undefined {
  for (const [, list = "", from = ""] of text.matchAll(
    /^import\s+(?:type\s+)?\{([^}]*)\}\s+from\s+"(\.[^"]+)";/gm,
  )) {
    for (const item of list.split(",")) {
      const [, name, alias = name] = /^\s*(?:type\s+)?([\w$]+)(?:\s+as\s+([\w$]+))?\s*$/.exec(item) ?? [];
      if (name !== undefined && alias === local) return { from, name };
    }
  }
  if (
    new RegExp(`^(?:abstract |async )*(?:class|function|const|let|interface|type) ${local}\\b`, "m").test(
      text,
    )
  ) {
    return undefined;
  }
  throw new Error(`${path} exports ${local}, which it neither declares nor imports by that name.`);
}

function resolve(path: string, specifier: string): string {
  const target = posix.join(posix.dirname(path), specifier);
  if (!ownFiles(posix.dirname(target)).includes(target))
    throw new Error(`${path} names ${target}, which is missing.`);
  return target;
}

/** A docstring, perhaps followed by line comments, right before the first declaration of the name. */
function hasDocstring(text: string, name: string): boolean {
  const declared = `(?:export )?(?:declare )?(?:abstract )?(?:async )?(?:class|function\\*?|const|let|interface|type) ${name}\\b`;
  return new RegExp(`\\*/\\n(?://.*\\n)*${declared.replaceAll("$", "\\$")}`).test(text);
}
