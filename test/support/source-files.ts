import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { root } from "./built.ts";

/** Made by tools, never committed. */
const NOT_COMMITTED =
  /^(?:node_modules|dist|dist\.\w+|coverage|\.git|\.setup-lock.*|\.jobwright-.*|.*\.(?:log|tsbuildinfo))$/;

/** Paths of the checkout's own files, with "/" between folders, sorted. */
export function ownFiles(folder = ""): string[] {
  return readdirSync(root + folder, { withFileTypes: true })
    .filter((entry) => !NOT_COMMITTED.test(entry.name))
    .flatMap((entry) => {
      const path = posix.join(folder, entry.name);
      return entry.isDirectory() ? ownFiles(path) : [path];
    })
    .sort();
}

export function readOwn(path: string): string {
  return readFileSync(root + path, "utf8");
}

export function isTestFile(path: string): boolean {
  return /\.test(-d)?\.ts$/.test(path);
}

/** How an import reaches its target: at load, only in types, or when a call is made. */
export type ImportKind = "value" | "type" | "lazy";

export interface Import {
  readonly kind: ImportKind;
  /** As written between the quotes. */
  readonly specifier: string;
  readonly line: number;
}

// A statement begins its line; its clause holds nothing but names, so that no code can be taken for one.
// `import { type A }` loads its module: only `import type` leaves nothing behind.
const STATEMENT = /^(?:import|export)(\s+type\b(?!\s*,|\s+from\b))?\s*(?:[\w$\s,{}*]*?\bfrom\s*)?"([^"]+)"/gm;
const CALL = /(typeof\s+)?\b(?:import|require)\(\s*(?:"([^"]+)"\s*\)(\s*\.\s*[A-Z])?|)/g;

/** Every import and re-export of a TypeScript file, `import()` and `require()` included. */
export function importsOf(text: string): Import[] {
  const line = (index: number): number => text.slice(0, index).split("\n").length;
  const found: Import[] = [];
  for (const match of text.matchAll(STATEMENT)) {
    found.push({ kind: match[1] ? "type" : "value", specifier: match[2] ?? "", line: line(match.index) });
  }
  for (const match of withoutComments(text).matchAll(CALL)) {
    const kind = match[1] !== undefined || match[3] !== undefined ? "type" : "lazy";
    found.push({ kind, specifier: match[2] ?? "(not a literal)", line: line(match.index) });
  }
  return found;
}

/** The text with its comments blanked out, in place. Comments are those that begin or follow a line's code. */
function withoutComments(text: string): string {
  const blank = (match: string): string => match.replaceAll(/[^\n]/g, " ");
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, blank).replaceAll(/(?:^|(?<=[\s;,{(]))\/\/ .*$/gm, blank);
}
