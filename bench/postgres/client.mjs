import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const CHILD = fileURLToPath(new URL("./child.mjs", import.meta.url));
/** A command that takes longer is stuck, and a bench that hangs says nothing. */
const DEADLINE_MS = 180_000;

/** The parent's side of one client process. */
export class Client {
  #child;
  #title;
  #pending = new Map();
  #next = 0;
  #log = "";
  #broken;
  /** What it told last of its runs. */
  ran = { n: 0, first: 0, last: 0 };
  /** Called when it tells something. */
  heard = () => undefined;
  node = "";

  static async start({ title, file, tuned = false }, { node, execArgv = [] }) {
    const client = new Client();
    await client.#start(title, [file, JSON.stringify({ tuned })], { node, execArgv });
    return client;
  }

  #start(title, args, { node, execArgv }) {
    this.#title = title;
    const { DATABASE_URL: _unused, ...env } = process.env;
    this.#child = fork(CHILD, args, {
      execPath: node,
      execArgv,
      // graphile-worker writes a line a job otherwise, and nobody is to be measured writing lines.
      env: { ...env, NO_LOG_SUCCESS: "1", NODE_ENV: "production" },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr.on("data", (chunk) => (this.#log = (this.#log + chunk).slice(0, 4_000)));
    this.#child.once("exit", (code, signal) => this.#break(`ended (${signal ?? `exit code ${code}`})`));
    return new Promise((resolve, reject) => {
      this.#pending.set("ready", { resolve, reject });
      this.#child.on("message", (message) => this.#receive(message));
    });
  }

  /** Give a command and wait for its answer. */
  async do(command, argument) {
    if (this.#broken !== undefined) throw this.#broken;
    const id = (this.#next += 1);
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        timer = setTimeout(
          () => this.#break(`did not answer "${command}" in ${DEADLINE_MS} ms`),
          DEADLINE_MS,
        );
        this.#child.send({ id, command, argument });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  end() {
    if (this.#child.connected) this.#child.disconnect();
  }

  #receive({ id, value, error, event, ...told }) {
    if (event === "ready") {
      this.node = told.node;
      this.#pending.get("ready").resolve();
      this.#pending.delete("ready");
    } else if (event === "ran") {
      this.ran = told;
      this.heard(told);
    } else if (event === "started") {
      this.heard(told);
    } else {
      const { resolve, reject } = this.#pending.get(id);
      this.#pending.delete(id);
      if (error === undefined) resolve(value);
      else reject(new Error(`${this.#title}: ${error}`));
    }
  }

  #break(why) {
    this.#broken ??= new Error(`A client process of ${this.#title} ${why}.\n${this.#log}`);
    for (const { reject } of this.#pending.values()) reject(this.#broken);
    this.#pending.clear();
  }
}
