import * as errors from "../errors.ts";
import { JobwrightError } from "../errors.ts";

/** Told apart from the rest, or belonging to the side on which the error was made. */
const APART: ReadonlySet<string> = new Set(["name", "message", "code", "stack", "cause"]);

/** What an error of ours tells besides its name, message and code, by property, as far as JSON carries it. */
export function detailsOf(error: JobwrightError): Readonly<Record<string, unknown>> {
  const details: Record<string, unknown> = {};
  for (const key of Object.getOwnPropertyNames(error)) {
    const value: unknown = Reflect.get(error, key);
    // What a caller handed in may be anything, and large.
    if (APART.has(key) || (key === "value" && typeof value === "object")) continue;
    const told = plain(value);
    if (told !== undefined) details[key] = told;
  }
  return details;
}

/**
 * An error of ours made anew, so that a `catch` cannot tell here from there; `undefined` when jobwright has none of
 * that name.
 */
export function ownError(
  name: string,
  message: string,
  code: string | undefined,
  details: object = {},
): JobwrightError | undefined {
  const kind: unknown = Object.hasOwn(errors, name) ? Reflect.get(errors, name) : undefined;
  if (typeof kind !== "function" || !(kind.prototype instanceof JobwrightError)) return undefined;
  const error = Object.setPrototypeOf(new Error(message), kind.prototype) as JobwrightError;
  for (const [key, value] of Object.entries(details)) {
    if (APART.has(key)) continue;
    // As its constructor would have made it: what was handed in is not for loggers to print.
    const enumerable = key !== "value";
    Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true });
  }
  return Object.assign(error, code === undefined ? {} : { code });
}

/** What cannot cross must not keep the error from crossing. */
function plain(value: unknown): unknown {
  try {
    const text = JSON.stringify(value) as string | undefined;
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
