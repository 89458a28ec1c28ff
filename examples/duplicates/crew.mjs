// @ts-check
// The worker processes, as the main process sees them.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/**
 * What a worker tells the main process.
 *
 * @typedef {(
 *   | { kind: "started" }
 *   | { kind: "halfway", running: number }
 *   | { kind: "rescued", id: string, started: boolean }
 *   | { kind: "storageError", text: string }
 * )} Message
 */

/**
 * @typedef {object} Member
 * @property {string} name
 * @property {import("node:child_process").ChildProcess} child
 * @property {Promise<unknown>} started
 * @property {boolean} isKilled
 */

/** Whoever has not ended so long after being asked is ended. */
const END_MS = 15_000;

export class Crew {
  /** @type {Member[]} */
  #members = [];
  #isEnding = false;
  /** @type {(name: string, how: string) => void} */
  #onDeath;

  /** @param {(name: string, how: string) => void} onDeath told of a worker that ends unasked */
  constructor(onDeath) {
    this.#onDeath = onDeath;
  }

  /** @returns {number} workers that are alive */
  get size() {
    return this.#members.length;
  }

  /**
   * @param {string} name
   * @param {{ args: string[], storage: string }} start what worker.mjs is told
   * @param {(message: Message, member: Member) => void} onMessage
   */
  add(name, { args, storage }, onMessage) {
    // Command lines are for everybody to read; the storage's URL may hold a password.
    const env = { ...process.env, JOBWRIGHT_DEMO_STORAGE: storage };
    const child = fork(fileURLToPath(new URL("worker.mjs", import.meta.url)), args, { env });
    const started = Promise.race([once(child, "message"), once(child, "exit")]);
    const member = { name, child, started, isKilled: false };
    this.#members.push(member);
    child.on("message", (message) => onMessage(/** @type {Message} */ (message), member));
    child.on("exit", (code, signal) => {
      this.#members = this.#members.filter((other) => other !== member);
      if (!this.#isEnding && !member.isKilled) this.#onDeath(name, signal ?? `exit code ${code}`);
    });
    return member;
  }

  /**
   * Kill one in the hardest way: it gets no chance to give its jobs back.
   *
   * @param {Member} member
   */
  kill(member) {
    member.isKilled = true;
    member.child.kill("SIGKILL");
  }

  /** All have begun, or ended. */
  async started() {
    await Promise.all(this.#members.map(({ started }) => started));
  }

  /** Let all end in an orderly way: a worker ends when its connection to the main process does. */
  async end() {
    this.#isEnding = true;
    const timer = setTimeout(() => this.#killAll(), END_MS);
    await Promise.all(
      this.#members.map(async ({ child }) => {
        const ended = once(child, "exit");
        if (child.connected) child.disconnect();
        await ended;
      }),
    );
    clearTimeout(timer);
  }

  #killAll() {
    for (const { child } of this.#members) child.kill("SIGKILL");
  }
}
