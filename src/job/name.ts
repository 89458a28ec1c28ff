import { InvalidOptionError } from "../errors.ts";
import { limits } from "./limits.ts";

/**
 * The rule for every name: job, queue, tag, key, process, caller-given id. Names are data, so anything
 * printable goes, `"__proto__"` and emoji included; what would break a log line or a key does not.
 *
 * @param what the option the value was given for, quoted in the error
 * @throws InvalidOptionError
 */
export function checkName(value: unknown, what: string): string {
  if (
    typeof value === "string" &&
    value.length > 0 &&
    value.length <= limits.nameLength &&
    !UNPRINTABLE.test(value)
  ) {
    return value;
  }
  throw new InvalidOptionError(
    what,
    value,
    `Use 1 to ${limits.nameLength} characters, none of them a control character.`,
  );
}

// Control characters (C0, DEL, C1), halves of surrogate pairs, and the two line separators of Unicode.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029]/u;
