import { LeaseLostError } from "../errors.ts";
import { limits } from "../job/limits.ts";
import { show } from "../show.ts";
import type { LogLine, Note, Storage } from "../storage/storage.ts";
import type { Run } from "./run.ts";

/** What a run says is gathered this long, and then saved in one call. Real time. */
const GATHER_MS = 500;
/** How long the end of a run waits for its last words to be saved. Real time. */
const LAST_WORDS_MS = 2_000;

/**
 * What a run says of itself while it goes on: how far it is, and what it logged. Gathered, saved at most twice a
 * second, and before the run is settled; what cannot be saved is lost, and never the run's fault.
 */
export class Journal {
  readonly #run: Run;
  readonly #storage: Storage;
  #progress: string | undefined;
  #lines: LogLine[] = [];
  #timer: NodeJS.Timeout | undefined;
  #saving: Promise<void> | undefined;
  /** The lease is gone: nothing more can be said. */
  #isClosed = false;

  constructor(run: Run, storage: Storage) {
    this.#run = run;
    this.#storage = storage;
  }

  /** Whether something is not saved yet. */
  get isOpen(): boolean {
    return this.#saving !== undefined || this.#hasNews;
  }

  get #hasNews(): boolean {
    return this.#progress !== undefined || this.#lines.length > 0;
  }

  /** @param text as `progressText` makes it */
  progress(text: string): void {
    if (this.#isClosed) return;
    this.#progress = text;
    this.#saveSoon();
  }

  log(line: LogLine): void {
    if (this.#isClosed) return;
    // No more than the storage keeps, so what is dropped here would be dropped there.
    if (this.#lines.length === limits.logLines) this.#lines.shift();
    this.#lines.push(line);
    this.#saveSoon();
  }

  #saveSoon(): void {
    if (this.#timer !== undefined || this.#saving !== undefined) return;
    this.#timer = setTimeout(() => void this.#save(), GATHER_MS);
    this.#timer.unref();
  }

  /** Resolves when all that was said is saved, or cannot be. Never rejects. */
  async saved(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, LAST_WORDS_MS)));
    try {
      await Promise.race([this.#saveAll(), enough]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #saveAll(): Promise<void> {
    while (this.isOpen) {
      await (this.#saving ?? this.#save());
    }
  }

  #save(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const note: Note = {
      ...(this.#progress === undefined ? {} : { progress: this.#progress }),
      ...(this.#lines.length === 0 ? {} : { log: this.#lines }),
    };
    this.#progress = undefined;
    this.#lines = [];
    this.#saving = this.#send(note).finally(() => {
      this.#saving = undefined;
      if (this.#hasNews) this.#saveSoon();
    });
    return this.#saving;
  }

  async #send(note: Note): Promise<void> {
    const run = this.#run;
    try {
      if ((await this.#storage.note(run.lease, note)) === "saved") return;
    } catch {
      // The next words may have more luck; what the run does is what counts.
      return;
    }
    this.#isClosed = true;
    this.#progress = undefined;
    this.#lines = [];
    // Its own transaction may have completed the job, and its handler may still tidy up.
    if (!run.over && !run.completedIn) run.abort(new LeaseLostError(run.id));
  }
}

/** A line as it is kept: what was said, without the details, which may hold anything. */
export function logLine(at: number, level: LogLine["level"], message: unknown): LogLine {
  const text = typeof message === "string" ? message : show(message);
  // Cutting must not leave half a character.
  return { at, level, text: text.slice(0, limits.logText).toWellFormed() };
}
