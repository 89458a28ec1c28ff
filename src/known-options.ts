import { InvalidOptionError } from "./errors.ts";

/**
 * Refuse an option that nobody knows: a slip of the pen must not be passed over.
 *
 * @param what one of them, in messages: "worker option"
 * @throws InvalidOptionError
 */
export function checkKnown(what: string, options: unknown, known: readonly string[]): void {
  const remedy = `Known options: ${known.join(", ")}.`;
  if (typeof options !== "object" || options === null) {
    // A URL in their place may hold a password.
    throw new InvalidOptionError(`${what}s`, typeof options === "string" ? "a text" : options, remedy);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new InvalidOptionError(what, key, remedy);
  }
}
