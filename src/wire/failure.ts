import { JobwrightError, ProtocolError, StorageClosedError, StorageUnavailableError } from "../errors.ts";
import { detailsOf, ownError } from "../job/own-error.ts";
import { MalformedError, record, type Shape, text } from "./shape.ts";
import { wireLimits } from "./limits.ts";

/** An error as it crosses: enough to make it anew, so that a `catch` cannot tell near from far. */
export interface Failure {
  /** The class in `errors.ts`, or of a foreign error. */
  readonly name: string;
  readonly message: string;
  /** Absent for a foreign error. */
  readonly code?: string;
  /** What else the error tells, by property, as JSON. */
  readonly details?: string;
}

const line = text(wireLimits.errorLength);

export const failure: Shape<Failure> = record<Failure>({
  needs: { name: line, message: line },
  may: { code: line, details: line },
});

/** What is told of an error. Its stack and causes stay where they are: they may show what is nobody's business. */
export function failureOf(error: unknown): Failure {
  if (error instanceof MalformedError) return failureOf(new ProtocolError(error.message));
  if (!(error instanceof JobwrightError)) {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    return { name: cut(name), message: cut(message) };
  }
  // Theirs is not closed: only ours is, on its way to another start.
  if (error instanceof StorageClosedError) {
    return failureOf(new StorageUnavailableError("The job server is stopping. The call may be repeated."));
  }
  const json = JSON.stringify(detailsOf(error));
  return {
    name: error.name,
    message: cut(error.message),
    code: error.code,
    ...(json === "{}" || json.length > wireLimits.errorLength ? {} : { details: json }),
  };
}

/** The error that a failure tells of, with the stack of whoever made the call. */
export function errorOf({ name, message, code, details }: Failure): Error {
  const own = code === undefined ? undefined : ownError(name, message, code, readDetails(details));
  if (own !== undefined) return own;
  const foreign = new Error(`The job server failed: ${name}: ${message}`);
  return code === undefined ? foreign : Object.assign(foreign, { code });
}

function readDetails(json: string | undefined): object {
  if (json === undefined) return {};
  try {
    const details: unknown = JSON.parse(json);
    return typeof details === "object" && details !== null ? details : {};
  } catch {
    return {};
  }
}

function cut(value: string): string {
  return value.slice(0, wireLimits.errorLength);
}
