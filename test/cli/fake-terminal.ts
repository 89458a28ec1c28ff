import { Readable } from "node:stream";
import { runCommand } from "../../src/cli/run-command.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import type { Service } from "../../src/service.ts";

/** What a command did. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly columns?: number;
  readonly input?: string;
}

/** A terminal that keeps what is written, and sends signals when it is told to. */
export class FakeTerminal implements Terminal {
  text = "";
  errors = "";
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly columns: number | undefined;
  readonly #input: string;
  #services: readonly (Service | AsyncDisposable)[] = [];
  #onError: ((error: unknown) => void) | undefined;
  #waiting: { readonly pattern: RegExp; readonly resolve: () => void }[] = [];

  constructor({ env = {}, cwd = "/", columns, input = "" }: Surroundings = {}) {
    this.env = env;
    this.cwd = cwd;
    this.columns = columns;
    this.#input = input;
  }

  out(text: string): void {
    this.text += text;
    this.#look();
  }

  error(line: string): void {
    this.errors += `${line}\n`;
    this.#look();
  }

  input(): AsyncIterable<Uint8Array> {
    return Readable.from(this.#input === "" ? [] : [Buffer.from(this.#input)]);
  }

  stopOnSignals(services: readonly (Service | AsyncDisposable)[]): () => void {
    this.#services = services;
    return () => (this.#services = []);
  }

  onStrayError(listener: (error: unknown) => void): () => void {
    this.#onError = listener;
    return () => (this.#onError = undefined);
  }

  /** As SIGTERM does. */
  async signal(): Promise<void> {
    for (const service of this.#services)
      await ("stop" in service ? service.stop() : service[Symbol.asyncDispose]());
  }

  /** As an error does that nobody caught. */
  stray(error: unknown): void {
    this.#onError?.(error);
  }

  /** Whether anything still listens for signals or stray errors. */
  get isHeld(): boolean {
    return this.#onError !== undefined;
  }

  /** Resolves when it was written. */
  written(pattern: RegExp): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ pattern, resolve });
      this.#look();
    });
  }

  #look(): void {
    for (const { pattern, resolve } of this.#waiting) if (pattern.test(this.text + this.errors)) resolve();
  }
}

/** Run a command to its end. */
export async function run(args: readonly string[], surroundings: Surroundings = {}): Promise<Ran> {
  const terminal = new FakeTerminal(surroundings);
  const code = await runCommand(args, terminal);
  return { code, out: terminal.text, error: terminal.errors };
}

/** A command that goes on until it is told to stop. */
export interface Going {
  readonly terminal: FakeTerminal;
  readonly ended: Promise<Ran>;
}

/** Begin a command and wait until it has written this, or has ended. */
export async function begin(
  args: readonly string[],
  ready: RegExp,
  surroundings: Surroundings = {},
): Promise<Going> {
  const terminal = new FakeTerminal(surroundings);
  const ended = runCommand(args, terminal).then((code) => ({
    code,
    out: terminal.text,
    error: terminal.errors,
  }));
  await Promise.race([terminal.written(ready), ended]);
  return { terminal, ended };
}
