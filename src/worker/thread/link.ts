import { type MessagePort } from "node:worker_threads";
import { limits } from "../../job/limits.ts";
import type { Logger } from "../../logger.ts";
import type { EnqueuedJob } from "../context.ts";
import { errorOf } from "./failure.ts";
import type { Call, FromThread, ToThread } from "./messages.ts";

/** How often a thread tells how far it is. */
const PROGRESS_MS = 250;

/** The first message, with what the handler is to do. */
export type Start = ToThread & { readonly kind: "run" };

interface Waiting {
  readonly what: Call;
  readonly size: number;
  resolve(enqueued: readonly EnqueuedJob[]): void;
  reject(error: Error): void;
}

/**
 * A run's line to the main thread. It is the thread that keeps the bounds: whatever a handler does, the main
 * thread has only so many calls and log lines of it before it, and the rest waits or is dropped here.
 */
export class Link {
  readonly #port: MessagePort;
  readonly #controller = new AbortController();
  readonly #under = new Map<number, Waiting>();
  readonly #queue: Waiting[] = [];
  #textUnder = 0;
  #sentAll: (() => void) | undefined;
  #calls = 0;
  #now: number | undefined;
  #second = 0;
  #lines = 0;
  #leftOut = 0;
  #progress: string | undefined;
  #progressTimer: NodeJS.Timeout | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** Say that a thread has the run, and take what it is about. */
  begin(): Promise<Start> {
    return new Promise((resolve) => {
      this.#port.on("message", (message: ToThread) => {
        this.#now = message.now;
        switch (message.kind) {
          case "run":
            return resolve(message);
          case "abort":
            return this.#controller.abort(errorOf(message.reason));
          case "answer":
            return this.#answered(message);
        }
      });
      this.#post({ kind: "begun" });
    });
  }

  /** Nothing more is said or heard. */
  end(): void {
    this.#tellLeftOut();
    this.#tellProgress();
    this.#port.close();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  now(): number {
    return this.#now ?? Date.now();
  }

  /** @param size of the texts in it, in characters */
  call(what: Call, size: number): Promise<readonly EnqueuedJob[]> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ what, size, resolve, reject });
      this.#send();
    });
  }

  #send(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const isFull =
        this.#under.size >= limits.threadCalls ||
        (this.#under.size > 0 && this.#textUnder + next.size > limits.threadCallText);
      if (isFull) return;
      this.#queue.shift();
      const call = (this.#calls += 1);
      try {
        this.#post({ kind: "call", call, what: next.what });
      } catch (error) {
        // Options hold something that cannot cross.
        next.reject(error as Error);
        continue;
      }
      this.#under.set(call, next);
      this.#textUnder += next.size;
    }
    this.#sentAll?.();
  }

  /** Resolves when no call waits here any more; those that are on their way may still be unanswered. */
  async sentAll(): Promise<void> {
    // A payload may have been under check when the handler returned.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.#queue.length > 0) await new Promise<void>((resolve) => (this.#sentAll = resolve));
  }

  #answered(message: ToThread & { readonly kind: "answer" }): void {
    const waiting = this.#under.get(message.call);
    if (waiting === undefined) return;
    this.#under.delete(message.call);
    this.#textUnder -= waiting.size;
    if (message.ok) waiting.resolve(message.enqueued ?? []);
    else waiting.reject(errorOf(message.failure));
    this.#send();
  }

  log(level: keyof Logger, message: string, details?: Readonly<Record<string, unknown>>): void {
    const second = Math.floor(performance.now() / 1_000);
    if (second !== this.#second) {
      this.#tellLeftOut();
      this.#second = second;
      this.#lines = 0;
    }
    this.#lines += 1;
    if (this.#lines > limits.threadLogLines) {
      this.#leftOut += 1;
      return;
    }
    const text = String(message).slice(0, limits.threadLogText);
    this.#post({ kind: "log", level, message: text, ...fitting(details) });
  }

  /** Only the newest is told, and not more often than it is saved. */
  progress(text: string): void {
    this.#progress = text;
    this.#progressTimer ??= setTimeout(() => this.#tellProgress(), PROGRESS_MS);
    this.#progressTimer.unref();
  }

  #tellProgress(): void {
    clearTimeout(this.#progressTimer);
    this.#progressTimer = undefined;
    if (this.#progress !== undefined) this.#post({ kind: "progress", text: this.#progress });
    this.#progress = undefined;
  }

  #tellLeftOut(): void {
    if (this.#leftOut === 0) return;
    const message = `${this.#leftOut} more lines left out: a thread may log ${limits.threadLogLines} a second`;
    this.#leftOut = 0;
    this.#post({ kind: "log", level: "warn", message });
  }

  #post(message: FromThread): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port is no window
    this.#port.postMessage(message);
  }
}

/** Details as JSON carries them, when they are not too many. */
function fitting(details: unknown): { details?: Readonly<Record<string, unknown>> } {
  if (typeof details !== "object" || details === null) return {};
  try {
    const text = JSON.stringify(details);
    if (text.length <= limits.threadLogText) return { details: JSON.parse(text) as Record<string, unknown> };
    return { details: { leftOut: `details of ${text.length} characters` } };
  } catch {
    return { details: { leftOut: "details that JSON cannot carry" } };
  }
}
