import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A process that uses a store, as `child.mjs` does. */
export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  #ids = 0;
  #woken = 0;
  #onWoken: (() => void) | undefined;

  static async start(folder: string): Promise<Child> {
    const child = new Child(folder);
    await once(child.#process, "message");
    return child;
  }

  constructor(folder: string) {
    const script = fileURLToPath(new URL("./child.mjs", import.meta.url));
    this.#process = fork(script, [folder], { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.exited = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => {
        for (const { reject } of this.#waiting.values())
          reject(new Error(`the child ended: ${signal ?? code}`));
        this.#waiting.clear();
        resolve({ code, signal });
      });
    });
    this.#process.on(
      "message",
      (message: { id?: number; answer?: unknown; error?: string; woken?: true }) => {
        if (message.woken === true) {
          this.#woken++;
          this.#onWoken?.();
        }
        if (message.id === undefined) return;
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        if (message.error === undefined) waiting?.resolve(message.answer);
        else waiting?.reject(new Error(message.error));
      },
    );
  }

  do<T>(command: string, argument?: unknown): Promise<T> {
    const id = ++this.#ids;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
      this.#process.send({ id, command, argument }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  /** Resolves when a watcher of the child was woken, from now on or since the last call. */
  async woken(): Promise<void> {
    if (this.#woken === 0) await new Promise<void>((resolve) => (this.#onWoken = resolve));
    this.#woken = 0;
    this.#onWoken = undefined;
  }

  kill(): Promise<unknown> {
    this.#process.kill("SIGKILL");
    return this.exited;
  }
}
