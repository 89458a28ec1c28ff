import { readFileSync } from "node:fs";
import { InvalidOptionError } from "../errors.ts";
import type { AccessToken, Scope } from "../server/index.ts";

/** Tokens between spaces, commas or lines. None of them is ever part of a message. */
export function tokensFrom(text: string): string[] {
  return text.split(/[\s,]+/).filter((token) => token !== "");
}

/**
 * Tokens in a file, one on each line: `<token>`, or `<token> <scope>,<scope>`. Empty lines and those that
 * begin with "#" are passed over.
 *
 * @throws InvalidOptionError when it cannot be read, or holds none
 */
export function tokensOfFile(path: string): (string | AccessToken)[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    throw new InvalidOptionError("--token-file", path, `The file cannot be read (${code}).`);
  }
  const lines = text.split("\n").map((line) => line.trim());
  const tokens = lines
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [token = "", ...scopes] = line.split(/[\s,]+/);
      // Unknown scopes are refused by the server, which knows them.
      return scopes.length === 0 ? token : { token, scopes: scopes as Scope[] };
    });
  // A server without tokens lets everybody in: an empty file is a mistake.
  if (tokens.length === 0) throw new InvalidOptionError("--token-file", path, "It holds no token.");
  return tokens;
}
