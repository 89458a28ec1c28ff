import { StateError, StorageUnavailableError } from "../../errors.ts";
import type { Connection, Statement } from "./connection.ts";
import { Deadline } from "./deadline.ts";
import { isConflict } from "./failures.ts";
import type { PgResult, Row, Value } from "./pg.ts";

/** How long taking a transaction back may take: its own time may be over by then. */
const ROLLBACK_MS = 5_000;
/** How much longer than a transaction may take the server waits for its next statement. */
const IDLE_MARGIN_MS = 1_000;
/** The longest the server can be told. */
const IDLE_MS_MAX = 2_147_483_647;

/** One run of several statements that take effect together, on one connection. */
export class Transaction {
  readonly connection: Connection;
  readonly #deadline: Deadline;
  readonly #prepare: boolean;
  readonly #label: string;
  readonly #typed: (error: unknown) => Error;
  #isOver = false;
  #failure: unknown;

  /**
   * @param typed turns what `pg` throws into an error of ours
   */
  constructor(
    connection: Connection,
    deadline: Deadline,
    prepare: boolean,
    label: string,
    typed: (error: unknown) => Error,
  ) {
    this.#label = label;
    this.connection = connection;
    this.#deadline = deadline;
    this.#prepare = prepare;
    this.#typed = typed;
  }

  /** What made it fail, as `pg` threw it: it decides whether a repetition helps, whatever the body made of it. */
  get failure(): unknown {
    return this.#failure;
  }

  async run<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    await this.#statement({ name: "", text: this.#begin }, [], false);
    let answer: T;
    try {
      answer = await this.#inTime(body);
    } catch (error) {
      this.#isOver = true;
      await this.#rollBack();
      throw error;
    }
    this.#isOver = true;
    await this.#commit();
    return answer;
  }

  /** @throws errors of ours */
  async query(statement: Statement, values: readonly Value[]): Promise<Row[]> {
    if (this.#isOver)
      throw new StateError("The transaction is over. Await all its statements within its body.");
    return (await this.#statement(statement, values, this.#prepare)).rows;
  }

  /**
   * Databases may have other defaults; our statements look again after they have waited for a lock. And when the
   * network swallows us, the server must not keep our locks until it notices that by itself, hours later.
   */
  get #begin(): string {
    const idleMs = Math.min(Math.ceil(this.#deadline.ms) + IDLE_MARGIN_MS, IDLE_MS_MAX);
    return `begin isolation level read committed; set local idle_in_transaction_session_timeout = ${idleMs}`;
  }

  async #commit(): Promise<void> {
    const { command } = await this.#statement({ name: "", text: "commit" }, [], false);
    // The server says so when a statement had failed and the body went on as if it had not.
    if (command === "COMMIT") return;
    throw this.#failure === undefined
      ? new StorageUnavailableError(`${this.#label} took a transaction back. Repeat it.`)
      : this.#typed(this.#failure);
  }

  async #statement(statement: Statement, values: readonly Value[], prepare: boolean): Promise<PgResult> {
    try {
      return await this.connection.run(statement, values, this.#deadline, prepare);
    } catch (error) {
      if (this.#failure === undefined || isConflict(error)) this.#failure = error;
      throw this.#typed(error);
    }
  }

  /** A body that waits for something else must not keep the connection, nor the caller, for ever. */
  async #inTime<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(
          new StorageUnavailableError(
            `A transaction on ${this.#label} took longer than ${this.#deadline.ms} ms. Repeat later.`,
          ),
        );
        this.connection.giveUp();
      }, this.#deadline.leftMs);
    });
    try {
      return await Promise.race([body(this), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #rollBack(): Promise<void> {
    if (this.connection.isOver) return;
    try {
      await this.connection.run({ name: "", text: "rollback" }, [], new Deadline(ROLLBACK_MS), false);
    } catch {
      this.connection.destroy();
    }
  }
}
