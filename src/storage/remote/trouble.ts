import { AccessDeniedError, JobwrightError, ProtocolError, StorageUnavailableError } from "../../errors.ts";

/** What ended a connection, as an error of ours: what could not be read may be better next time. */
export function troubleOf(error: unknown, label: string): JobwrightError {
  if (error instanceof JobwrightError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new StorageUnavailableError(`The connection to ${label} brought what cannot be read: ${why}`, {
    cause: error,
  });
}

/** Whether trying again will not help by itself. */
export function isRefusal(error: Error | undefined): boolean {
  return error instanceof AccessDeniedError || error instanceof ProtocolError;
}
