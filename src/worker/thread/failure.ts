import { JobwrightError } from "../../errors.ts";
import { serializeError } from "../../job/error.ts";
import { detailsOf, ownError } from "../../job/own-error.ts";

/** An error as it crosses between threads: enough to make it anew, so that `instanceof` works on both sides. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  /** What else an error of jobwright tells, by property. */
  readonly details?: Readonly<Record<string, unknown>>;
}

export function failureOf(thrown: unknown): Failure {
  const { name, message, code } = serializeError(thrown);
  return {
    name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(thrown instanceof JobwrightError ? { details: detailsOf(thrown) } : {}),
  };
}

export function errorOf({ name, message, code, details }: Failure): Error {
  const own = ownError(name, message, code, details);
  if (own !== undefined) return own;
  const error = new Error(message);
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  return Object.assign(error, details, code === undefined ? {} : { code });
}
