/**
 * PostgreSQL's text holds no NUL and no half of a surrogate pair; JavaScript's strings do. Such a text is stored
 * as its JSON behind a mark that no name and no JSON text begins with. All others are stored as they are.
 */
const MARK = "\u0001";

export function encodeText(text: string): string {
  return text.includes("\0") || text.startsWith(MARK) || !text.isWellFormed()
    ? MARK + JSON.stringify(text)
    : text;
}

export function decodeText(text: string): string {
  return text.startsWith(MARK) ? (JSON.parse(text.slice(MARK.length)) as string) : text;
}
