import { StorageUnavailableError } from "../../errors.ts";
import { cancelStatement } from "./cancel.ts";
import type { Deadline } from "./deadline.ts";
import { leavesConnectionUsable } from "./failures.ts";
import { type PgClient, type PgResult, RAW, type Value } from "./pg.ts";

/** A statement, with a name of its own under which the server keeps it prepared. */
export interface Statement {
  /** At most 63 characters, and never used for another text. */
  readonly name: string;
  readonly text: string;
}

/** What a connection tells those who lend it. */
export interface Lender {
  readonly label: string;
  /** It did not answer before the deadline: those beside it may be cut off as well. */
  silent(): void;
}

/** One connection in the hands of one call, from the pool and back. */
export class Connection {
  readonly client: PgClient;
  readonly #done: (error?: unknown) => void;
  readonly #lender: Lender;
  #isOver = false;

  /**
   * @param done gives it back to its pool, to be thrown away when there is an error
   */
  constructor(client: PgClient, done: (error?: unknown) => void, lender: Lender) {
    this.client = client;
    this.#done = done;
    this.#lender = lender;
    // A connection that breaks says so with an event that would end the process if nobody heard it.
    client.on("error", ignore);
  }

  /**
   * One round trip. When the deadline passes, the connection is gone.
   *
   * @throws what `pg` throws, as it is; StorageUnavailableError for the deadline
   */
  run(
    statement: Statement,
    values: readonly Value[],
    deadline: Deadline,
    prepare: boolean,
  ): Promise<PgResult> {
    const { name, text } = statement;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new StorageUnavailableError(
            `${this.#lender.label} did not answer within ${deadline.ms} ms. Repeat later.`,
          ),
        );
        this.giveUp();
      }, deadline.leftMs);
      this.client.query(
        prepare
          ? { name, text, values, rowMode: "array", types: RAW }
          : { text, values, rowMode: "array", types: RAW },
        (error, result) => {
          clearTimeout(timer);
          if (error) reject(error);
          else resolve(result);
        },
      );
    });
  }

  /** Give it back, or throw it away after an error that leaves it in doubt. */
  release(error?: unknown): void {
    if (error !== undefined && !leavesConnectionUsable(error)) this.destroy();
    else this.#end();
  }

  /** Stop what it does and throw it away: nobody waits for its answer any more. */
  giveUp(): void {
    if (this.#isOver) return;
    cancelStatement(this.client);
    this.#lender.silent();
    this.#forget();
    this.destroy();
  }

  /** What the network has not delivered yet must not arrive after whoever sent it has gone on without it. */
  #forget(): void {
    const stream = this.client.connection?.stream;
    try {
      stream?.resetAndDestroy?.();
    } catch {
      // No plain TCP socket: then it goes as others do.
    }
  }

  /** Throw it away at once. A polite goodbye could wait for ever. */
  destroy(): void {
    if (this.#isOver) return;
    this.client.connection?.stream?.destroy();
    this.#end(new Error("thrown away"));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  #end(error?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#done(error);
    this.client.off("error", ignore);
  }
}

function ignore(): void {
  // The call under way hears of it as its own failure, and the pool replaces the connection.
}
