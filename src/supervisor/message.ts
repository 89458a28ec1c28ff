import type { MessagePort } from "node:worker_threads";
import { errorFromJob, serializeError } from "../job/error.ts";
import type { JobError } from "../job/job.ts";
import { errorOf, type Failure, failureOf } from "../wire/failure.ts";
import type { SharedConnectOptions } from "./options.ts";
import type { WorkerSettings } from "../worker/options.ts";

/** What a child is to do. */
export interface Assignment {
  /** The process of the Supervisor: told, because whoever asks late could see another parent already. */
  readonly supervisor: number;
  /** File URLs. */
  readonly modules: readonly string[];
  /** What it connects to by itself; absent for a thread that reaches the storage through the main thread. */
  readonly url?: string;
  /** How messages name the storage. */
  readonly label: string;
  readonly connect: SharedConnectOptions;
  readonly worker: WorkerSettings;
  readonly shutdownTimeoutMs: number;
  /** How often it shows that its event loop turns. */
  readonly aliveEveryMs: number;
}

/** What the Supervisor tells a child. */
export type ToChild =
  | { readonly jobwright: "start"; readonly assignment: Assignment }
  | { readonly jobwright: "stop"; readonly timeoutMs: number };

/** What a child tells the Supervisor. */
export type ToParent =
  /** Its event loop turns. */
  | { readonly jobwright: "alive" }
  /** The storage knows it under this id from now on. */
  | { readonly jobwright: "registered"; readonly processId: string }
  /** Its worker claims. */
  | { readonly jobwright: "ready" }
  /** It ends, and why. */
  | { readonly jobwright: "failed"; readonly error: ToldError }
  /** A thread wants to reach the storage through this port. */
  | { readonly jobwright: "dial"; readonly port: MessagePort };

/** User code may send what it likes over the same channel: only what is ours is taken. */
export function isOurs<M extends ToChild | ToParent>(message: unknown): message is M {
  return typeof message === "object" && message !== null && typeof (message as M).jobwright === "string";
}

/** An error on its way to another process or thread. */
export interface ToldError {
  readonly failure: Failure;
  readonly text: JobError;
}

export function tellError(error: unknown): ToldError {
  return { failure: failureOf(error), text: serializeError(error) };
}

/** The error again: of its class when it is one of ours, with its texts when it is not. */
export function toldError({ failure, text }: ToldError): Error {
  if (failure.code === undefined) return errorFromJob(text);
  const error = errorOf(failure);
  if (text.cause !== undefined) {
    const cause = errorFromJob(text.cause);
    Object.defineProperty(error, "cause", { value: cause, configurable: true, writable: true });
  }
  return error;
}
