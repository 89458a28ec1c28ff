/**
 * Every error jobwright throws or records. The `code` is stable; the message names the value and the remedy.
 * A test keeps `docs/errors.md` equal to this file.
 */

import { show } from "./show.ts";

/** The base of all errors of jobwright. */
export abstract class JobwrightError extends Error {
  abstract readonly code: string;
  override get name(): string {
    return this.constructor.name;
  }
}

// ── What the caller handed in ────────────────────────────────────────────────

/** An option, a name, a time or a URL that makes no sense. */
export class InvalidOptionError extends JobwrightError {
  readonly code = "JOBWRIGHT_INVALID_OPTION";
  readonly option: string;
  readonly value: unknown;
  constructor(option: string, value: unknown, remedy: string) {
    super(`${option} is ${show(value)}. ${remedy}`);
    this.option = option;
    // Loggers print all that is enumerable, and what was handed in by mistake may hold a password.
    Object.defineProperty(this, "value", { value, enumerable: false });
  }
}

/** One thing a schema found wrong, as Standard Schema reports it. */
export interface PayloadIssue {
  readonly message: string;
  /** Keys from the payload's root to the value. */
  readonly path: readonly (string | number)[];
}

/** A payload that fails its schema or that JSON cannot carry. */
export class InvalidPayloadError extends JobwrightError {
  readonly code = "JOBWRIGHT_INVALID_PAYLOAD";
  readonly job: string;
  readonly issues: readonly PayloadIssue[];
  constructor(job: string, issues: readonly PayloadIssue[]) {
    const shown = issues.slice(0, 5).map(({ path, message }) => `${showPath(path)}: ${message}`);
    const more = issues.length > 5 ? ` (and ${issues.length - 5} more)` : "";
    super(`The payload of "${job}" is invalid. ${shown.join("; ")}${more}`);
    this.job = job;
    this.issues = issues;
  }
}

/** A result or a checkpoint value that JSON cannot carry, or that is too large. */
export class InvalidValueError extends JobwrightError {
  readonly code = "JOBWRIGHT_INVALID_VALUE";
  constructor(what: string, problem: string) {
    super(`${what} cannot be stored. ${problem}`);
  }
}

/** A payload, or a batch of them, above its limit. */
export class PayloadTooLargeError extends JobwrightError {
  readonly code = "JOBWRIGHT_PAYLOAD_TOO_LARGE";
  constructor(what: string, bytes: number, limitBytes: number) {
    super(
      `${what} is ${bytes} bytes of JSON; the limit is ${limitBytes}. ` +
        "Store the data elsewhere and enqueue a reference to it.",
    );
  }
}

/** Two definitions of one name in one worker. */
export class DuplicateJobError extends JobwrightError {
  readonly code = "JOBWRIGHT_DUPLICATE_JOB";
  constructor(job: string) {
    super(`Two definitions are named "${job}". Give one of them another name, or hand in only one.`);
  }
}

/** A caller-chosen id that is taken by a job with another payload. */
export class DuplicateIdError extends JobwrightError {
  readonly code = "JOBWRIGHT_DUPLICATE_ID";
  readonly existingId: string;
  constructor(job: string, givenId: string, existingId: string) {
    super(
      `"${job}" with id ${show(givenId)} exists as job ${existingId} with another payload. ` +
        "Use another id, or enqueue the same payload.",
    );
    this.existingId = existingId;
  }
}

/** A unique key is held by another job, and the enqueue says that this is an error. */
export class KeyHeldError extends JobwrightError {
  readonly code = "JOBWRIGHT_KEY_HELD";
  readonly key: string;
  /** The job that holds the key; `undefined` when it is an earlier one of the same call. */
  readonly holderId: string | undefined;
  constructor(job: string, key: string, holderId: string | undefined) {
    const holder = holderId === undefined ? "an earlier job of this call" : `job ${holderId}`;
    super(
      `"${job}" with the unique key ${show(key)} is refused: ${holder} holds it. ` +
        'Wait for its end, or say onConflict: "keep" to get that job instead.',
    );
    this.key = key;
    this.holderId = holderId;
  }
}

/** A worker was given a definition without a handler. */
export class MissingHandlerError extends JobwrightError {
  readonly code = "JOBWRIGHT_MISSING_HANDLER";
  constructor(job: string) {
    super(`"${job}" has no handler. Bind one with implement(), or leave it out of this worker.`);
  }
}

/** An optional package that this URL or option needs is not installed. */
export class MissingDependencyError extends JobwrightError {
  readonly code = "JOBWRIGHT_MISSING_DEPENDENCY";
  constructor(what: string, packageName: string, cause?: unknown) {
    super(`${what} needs the package "${packageName}". Run: npm install ${packageName}`, { cause });
  }
}

/** A call that the object's state does not allow: start after stop, use after close. */
export class StateError extends JobwrightError {
  readonly code = "JOBWRIGHT_STATE";
}

// ── What a handler throws to say what should happen next ─────────────────────

/** Throw it to end the job at once as dead, whatever retries are left. */
export class UnrecoverableError extends JobwrightError {
  readonly code: string = "JOBWRIGHT_UNRECOVERABLE";
}

// ── Why a handler's signal fired (`ctx.signal.reason`) ───────────────────────

/** The run took longer than the job's `timeout`. */
export class TimeoutError extends JobwrightError {
  readonly code = "JOBWRIGHT_TIMEOUT";
  constructor(timeoutMs: number) {
    super(`The run took longer than its timeout of ${timeoutMs} ms.`);
  }
}

/** Someone asked to cancel the job while it ran. */
export class CancelledError extends JobwrightError {
  readonly code = "JOBWRIGHT_CANCELLED";
  readonly reason: string;
  constructor(reason: string) {
    super(`The job was cancelled: ${reason}`);
    this.reason = reason;
  }
}

/** The worker is stopping and its time is up; the job will run again, with no attempt spent. */
export class ShutdownError extends JobwrightError {
  readonly code = "JOBWRIGHT_SHUTDOWN";
  constructor() {
    super("The worker is stopping. The job goes back to its place and no attempt is spent.");
  }
}

/** This process no longer holds the job: nothing it still does counts. */
export class LeaseLostError extends JobwrightError {
  readonly code = "JOBWRIGHT_LEASE_LOST";
  constructor(jobId: number | string) {
    super(`Job ${jobId} is no longer held by this process: it was rescued, removed or settled.`);
  }
}

// ── What is recorded as a job's own failure ──────────────────────────────────

/** The process that ran the job was lost: killed, crashed, frozen or cut off. */
export class ProcessLostError extends JobwrightError {
  readonly code = "JOBWRIGHT_PROCESS_LOST";
  constructor(processId: string) {
    super(`The process ${processId} was lost while it ran the job.`);
  }
}

/** The transaction in which a handler completed its job did not commit, and the handler returned all the same. */
export class RolledBackError extends JobwrightError {
  readonly code = "JOBWRIGHT_ROLLED_BACK";
  constructor(jobId: number | string) {
    super(
      `The transaction in which job ${jobId} was completed did not commit, so it is not complete. ` +
        "Let the handler throw when its transaction fails, or complete the job again in another one.",
    );
  }
}

/** The thread that ran the job ended before the handler did: it exited, threw outside of it, or was out of memory. */
export class ThreadDiedError extends JobwrightError {
  readonly code = "JOBWRIGHT_THREAD_DIED";
  constructor(jobId: number | string, how: string, cause?: unknown) {
    super(
      `The thread that ran job ${jobId} ended before its handler did: ${how}`,
      cause === undefined ? {} : { cause },
    );
  }
}

// ── How waiting for a job can end ────────────────────────────────────────────

/** The job whose result was awaited is dead. */
export class JobFailedError extends JobwrightError {
  readonly code = "JOBWRIGHT_JOB_FAILED";
  readonly jobId: string;
  constructor(jobId: string, message: string, cause: unknown) {
    super(`Job ${jobId} is dead: ${message}`, { cause });
    this.jobId = jobId;
  }
}

/** The job whose result was awaited was cancelled. */
export class JobCancelledError extends JobwrightError {
  readonly code = "JOBWRIGHT_JOB_CANCELLED";
  readonly jobId: string;
  readonly reason: string;
  constructor(jobId: string, reason: string) {
    super(`Job ${jobId} was cancelled: ${reason}`);
    this.jobId = jobId;
    this.reason = reason;
  }
}

/** The job is not in the storage: it finished and was pruned, was removed, or never existed. */
export class ResultGoneError extends JobwrightError {
  readonly code = "JOBWRIGHT_RESULT_GONE";
  constructor(jobId: string) {
    super(
      `Job ${jobId} is not in the storage: it was pruned, removed, or never enqueued here. ` +
        "Keep finished jobs longer with `retention`.",
    );
  }
}

/** The job did not end within the time the caller was willing to wait. It goes on. */
export class ResultTimeoutError extends JobwrightError {
  readonly code = "JOBWRIGHT_RESULT_TIMEOUT";
  constructor(jobId: string, timeoutMs: number) {
    super(`Job ${jobId} did not end within ${timeoutMs} ms. It is not affected: wait again, or cancel it.`);
  }
}

// ── What a storage answers ───────────────────────────────────────────────────

/** More enqueues wait for their acknowledgement than a process may hold. */
export class OverloadedError extends JobwrightError {
  readonly code = "JOBWRIGHT_OVERLOADED";
  constructor(pending: string) {
    super(`${pending} wait for the storage. Await enqueues as you make them, or use enqueueMany().`);
  }
}

/** The storage could not be reached or did not answer in time. The call may be repeated. */
export class StorageUnavailableError extends JobwrightError {
  readonly code = "JOBWRIGHT_STORAGE_UNAVAILABLE";
}

/** The storage was closed by this process. */
export class StorageClosedError extends JobwrightError {
  readonly code = "JOBWRIGHT_STORAGE_CLOSED";
  constructor(what: string) {
    super(`${what} is closed. Connect again to go on.`);
  }
}

/** No room: disk full, map full, or the bound of a memory storage. */
export class StorageFullError extends JobwrightError {
  readonly code = "JOBWRIGHT_STORAGE_FULL";
}

/** The folder or database cannot be used: read-only, foreign, on a network file system, of another namespace. */
export class StorageRefusedError extends JobwrightError {
  readonly code = "JOBWRIGHT_STORAGE_REFUSED";
}

/** The store was written by a newer jobwright. */
export class StorageVersionError extends JobwrightError {
  readonly code = "JOBWRIGHT_STORAGE_VERSION";
  constructor(where: string, stored: number, supported: number) {
    super(
      `${where} has format ${stored}; this jobwright reads up to ${supported}. Update jobwright, ` +
        "or use the version that wrote it.",
    );
  }
}

/** A job server refuses who asks: no token, a wrong one, or one that does not allow this call. */
export class AccessDeniedError extends JobwrightError {
  readonly code = "JOBWRIGHT_ACCESS_DENIED";
}

/** The other side of a connection does not speak this protocol, or not this version of it. */
export class ProtocolError extends JobwrightError {
  readonly code = "JOBWRIGHT_PROTOCOL";
}

/** The store's content is damaged. */
export class StorageCorruptedError extends JobwrightError {
  readonly code = "JOBWRIGHT_STORAGE_CORRUPTED";
}

function showPath(path: readonly (string | number)[]): string {
  if (path.length === 0) return "payload";
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`))
    .join("")
    .replace(/^\./, "");
}
