/** Where a command writes. */
export interface Terminal {
  /** What was asked for. */
  out(text: string): void;
  /** What a person should know; for failures one line with the remedy. */
  error(line: string): void;
}

/** How a command can end; see docs/migrations.md. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** One command of the program. */
export interface Command {
  /** What `--help` prints. */
  readonly help: string;
  run(args: readonly string[], terminal: Terminal): Promise<ExitCode>;
}
