import type { Service } from "../service.ts";

/** Where a command writes, and what it may know of where it was started. */
export interface Terminal {
  /** What was asked for. */
  out(text: string): void;
  /** What a person should know; for failures one line with the remedy. */
  error(line: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder it was started in. */
  readonly cwd: string;
  /** Characters in a line; `undefined` when nobody looks: then nothing is cut off. */
  readonly columns?: number | undefined;
  /** Standard input. */
  input(): AsyncIterable<Uint8Array>;
  /** Stop these in order on SIGTERM or SIGINT; a second signal ends the process. Answers what takes it back. */
  stopOnSignals(services: readonly (Service | AsyncDisposable)[]): () => void;
  /** Hear of errors that nobody caught, which would otherwise end the process. Answers what takes it back. */
  onStrayError(listener: (error: unknown) => void): () => void;
}

/** How a command can end; see docs/cli.md. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
