import { readOwn } from "../../support/source-files.ts";

/** docs/reference/protocol.md. */
export const document: string = readOwn("docs/reference/protocol.md");

/** Rows of the table under a heading, cells as written. */
export function table(heading: string): string[][] {
  const section = new RegExp(`^#+ ${heading}\\n([\\s\\S]*?)(?=^#+ |(?![\\s\\S]))`, "m").exec(document)?.[1];
  if (section === undefined) throw new Error(`The document has no heading "${heading}".`);
  return [...section.matchAll(/^\| (`.*) \|$/gm)].map(([, row = ""]) => row.split(" | "));
}

/** What a cell begins with, when that is code. */
export const code = (cell = ""): string => /^`([^`]+)`/.exec(cell)?.[1] ?? "";
