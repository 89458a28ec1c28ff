import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface Told {
  readonly what: string;
  readonly payload?: string;
  readonly error?: string;
  readonly url?: string;
  readonly port?: number;
  readonly made?: number;
  /** When it was heard, by this process's clock. */
  readonly at: number;
}

/** A process of `child.mjs`. */
export class Child implements AsyncDisposable {
  readonly told: Told[] = [];
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  #stderr = "";
  #waiter: (() => void) | undefined;
  #isOver = false;

  /** @param machine the network name space it runs in, if not this one */
  constructor(role: "serve" | "spawn" | "work", target: string, name: string, machine?: string) {
    this.#process = fork(fileURLToPath(new URL("child.mjs", import.meta.url)), [role, target, name], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      ...(machine === undefined
        ? {}
        : { execPath: "ip", execArgv: ["netns", "exec", machine, process.execPath] }),
    });
    this.#process.stderr?.on("data", (part: Buffer) => (this.#stderr += part.toString()));
    this.#process.on("message", (message: Omit<Told, "at">) => {
      this.told.push({ ...message, at: performance.now() });
      this.#waiter?.();
    });
    this.#exited = once(this.#process, "exit").then(() => {
      this.#isOver = true;
      this.#waiter?.();
    });
  }

  /** The first thing of a kind that it told after the first `from`. @throws when it ends before */
  async heard(what: string, from = 0): Promise<Told> {
    for (;;) {
      const found = this.told.slice(from).find((one) => one.what === what);
      if (found !== undefined) return found;
      if (this.#isOver) throw new Error(`A child ended before it told "${what}": ${this.#stderr}`);
      await new Promise<void>((resolve) => (this.#waiter = resolve));
    }
  }

  /** End it in order. */
  async stop(): Promise<void> {
    this.#process.send({ stop: true });
    await this.heard("stopped");
    await this.#exited;
  }

  /** End it as a crash does. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOver) await this.kill();
  }
}
