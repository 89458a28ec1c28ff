import * as errors from "../../errors.ts";
import { JobwrightError } from "../../errors.ts";
import { serializeError } from "../../job/error.ts";

/** An error as it crosses between threads: enough to make it anew, so that `instanceof` works on both sides. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  /** What else an error of jobwright tells, by property. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Made anew on the other side, or not for there. */
const OWN: ReadonlySet<string> = new Set(["name", "message", "code", "stack", "cause", "value"]);

export function failureOf(thrown: unknown): Failure {
  const { name, message, code } = serializeError(thrown);
  const failure: Failure = { name, message, ...(code === undefined ? {} : { code }) };
  if (!(thrown instanceof JobwrightError)) return failure;
  const details: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(thrown)) if (!OWN.has(key)) details[key] = plain(value);
  return { ...failure, details };
}

export function errorOf({ name, message, code, details }: Failure): Error {
  const error = new Error(message);
  const kind = Object.hasOwn(errors, name) ? (errors as Record<string, unknown>)[name] : undefined;
  if (typeof kind === "function" && kind.prototype instanceof JobwrightError) {
    Object.setPrototypeOf(error, kind.prototype as JobwrightError);
  } else {
    Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  }
  return Object.assign(error, details, code === undefined ? {} : { code });
}

/** As JSON carries it: what cannot cross must not keep the error from crossing. */
function plain(value: unknown): unknown {
  try {
    const text = JSON.stringify(value) as string | undefined;
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
