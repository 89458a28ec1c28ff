import type { MessagePort } from "node:worker_threads";
import type { EnqueueOptions } from "../../job/options.ts";
import type { Logger } from "../../logger.ts";
import type { EnqueuedJob, RunningJobInfo } from "../context.ts";
import type { Failure } from "./failure.ts";

// What crosses between the main thread and the thread that runs a handler. One pair of ports a run: when it
// ends the ports close, and nothing of it can be taken for a message of the next one.

/** A run, as it is handed to a thread; all else comes by its port. */
export interface ThreadTask {
  readonly port: MessagePort;
  /** URL of the module whose default export is the handler. */
  readonly module: string;
}

export type ToThread =
  /** The first message, which waits in the port for the thread. */
  | {
      readonly kind: "run";
      readonly job: RunningJobInfo;
      /** The schema's output. */
      readonly payload: unknown;
      readonly checkpoint: Readonly<Record<string, string>>;
      readonly now: ClockReading;
    }
  /** The signal fires. */
  | { readonly kind: "abort"; readonly reason: Failure; readonly now: ClockReading }
  /** What became of a call. */
  | ({ readonly kind: "answer"; readonly call: number; readonly now: ClockReading } & Answer);

export type Answer =
  | { readonly ok: true; readonly enqueued?: readonly EnqueuedJob[] }
  | { readonly ok: false; readonly failure: Failure };

/** The clock of the main thread; absent where it is the machine's, which a thread can read by itself. */
export type ClockReading = number | undefined;

export type FromThread =
  /** A thread has taken the run. */
  | { readonly kind: "begun" }
  | {
      readonly kind: "log";
      readonly level: keyof Logger;
      readonly message: string;
      readonly details?: Readonly<Record<string, unknown>>;
    }
  /** How far it is, as it is stored. */
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "call"; readonly call: number; readonly what: Call };

/** What a handler asks of the main thread. Values are JSON text: written, and checked, in the thread. */
export type Call =
  | { readonly kind: "checkpoint"; readonly key: string; readonly text: string | null }
  | { readonly kind: "result"; readonly text: string }
  | { readonly kind: "enqueue"; readonly item: ThreadItem }
  | { readonly kind: "enqueueMany"; readonly items: readonly ThreadItem[] };

/** A job to enqueue. */
export interface ThreadItem {
  readonly name: string;
  /** The definition is the worker's own of that name, and checks the payload; else the thread has done it. */
  readonly byName: boolean;
  readonly payload: string;
  readonly options: EnqueueOptions | undefined;
}
