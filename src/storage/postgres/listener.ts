import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../logger.ts";
import type { Queryable } from "./database.ts";
import { pauseMs } from "./deadline.ts";
import { type PgClient, type PgResult, RAW } from "./pg.ts";
import { atMost, GOODBYE_MS } from "./pool.ts";

/** How often a quiet connection is asked whether it is still there, and how long it may take to answer. */
const BEAT_EVERY_MS = 10_000;
const BEAT_TIMEOUT_MS = 10_000;
/** How long a notification of ours may take to come back. */
const TEST_MS = 3_000;
/** How long a step of connecting may take. */
const DEADLINE_MS = 10_000;
/** The pause before the next try after a failure. */
const PAUSE_MS_FIRST = 100;
const PAUSE_MS_MAX = 5_000;
/** A connection that lasts this long was a good one: the next pause is short again. */
const STABLE_MS = 30_000;
/** The pause where everything went well except that notifications do not come. */
const DEAF_PAUSE_MS = 60_000;

/** Payloads of the tests of all listeners of the channel. */
const TEST = "listening? ";

/** What a listener needs; times are for tests. */
export interface ListenerOptions {
  /** A client that is not connected yet: `database.newClient()`, with a URL that leads around a pooler if need be. */
  readonly connect: () => Promise<PgClient>;
  /** Where notifications are sent, to test whether they arrive. */
  readonly database: Queryable;
  /** At most 63 bytes. */
  readonly channel: string;
  /** A notification came. It may be late, or a repetition. */
  readonly heard: (payload: string) => void;
  /** From now on notifications come; whatever was sent before has to be looked for. */
  readonly reconnected: () => void;
  readonly logger: Logger;
  /** How messages call the database. */
  readonly label: string;
  /** Makes an error fit to be shown: `database.typed()`. */
  readonly typed: (error: unknown) => Error;
  readonly random?: () => number;
  readonly deadlineMs?: number;
  readonly beatEveryMs?: number;
  readonly beatTimeoutMs?: number;
  readonly testMs?: number;
  readonly deafPauseMs?: number;
}

/**
 * Hears notifications on a connection of its own, for as long as it is not closed: a connection that is
 * lost or silent is replaced. Whether notifications arrive at all is tested each time, as between us and
 * the server there may be a pooler that takes `LISTEN` and forgets it.
 */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #session: Session | undefined;
  #works = false;
  /** What the log knows: one line when it begins, one when it ends. */
  #told: "nothing" | "lost" | "deaf" = "nothing";

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Whether notifications arrive now. While they do not, who waits for news has to look for them more often. */
  get works(): boolean {
    return this.#works;
  }

  /** Begin, and go on until closed. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** End for good. Leaves nothing open. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#session?.end();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random = Math.random, deafPauseMs = DEAF_PAUSE_MS } = this.#options;
    for (let failures = 0; !this.#isClosing;) {
      const session = new Session(this.#options);
      this.#session = session;
      let isDeaf = false;
      let startedAt = Infinity;
      try {
        await session.begin();
        isDeaf = !(await session.test());
        if (!isDeaf && !this.#isClosing) {
          this.#begin();
          startedAt = performance.now();
          await session.whenLost();
        }
      } catch (error) {
        if (!this.#isClosing) this.#lost(error);
      }
      this.#works = false;
      await session.end();
      if (this.#isClosing) return;
      if (isDeaf) this.#deaf();
      failures = performance.now() - startedAt >= STABLE_MS ? 1 : failures + 1;
      await this.#pause(
        isDeaf
          ? pauseMs(1, deafPauseMs, deafPauseMs, random)
          : pauseMs(failures, PAUSE_MS_FIRST, PAUSE_MS_MAX, random),
      );
    }
  }

  #begin(): void {
    const { logger, label, reconnected } = this.#options;
    this.#works = true;
    if (this.#told !== "nothing") logger.info(`${label}: LISTEN works again.`);
    this.#told = "nothing";
    reconnected();
  }

  #lost(error: unknown): void {
    const { logger, label, typed } = this.#options;
    if (this.#told !== "nothing") return;
    this.#told = "lost";
    logger.warn(`${label}: lost the connection for LISTEN, polling meanwhile. ${typed(error).message}`);
  }

  #deaf(): void {
    const { logger, label } = this.#options;
    if (this.#told === "deaf") return;
    this.#told = "deaf";
    logger.warn(
      `${label}: LISTEN does not work here (transaction-mode pooler?): polling instead; give a direct URL as listenUrl.`,
    );
  }

  get #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal, ref: false }).catch(() => undefined);
  }
}

/** One connection, from its beginning to its loss. */
class Session {
  readonly #options: ListenerOptions;
  readonly #lost: Promise<never>;
  #lose: (error: unknown) => void = () => undefined;
  #client: PgClient | undefined;
  #beat: NodeJS.Timeout | undefined;
  #isOver = false;
  #expected: { readonly payload: string; readonly arrived: () => void } | undefined;
  #gone: Promise<void> | undefined;
  #ended: Promise<void> | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#lost = new Promise<never>((_, reject) => (this.#lose = reject));
    this.#lost.catch(() => undefined);
  }

  /** Connect and listen. */
  async begin(): Promise<void> {
    const { connect, channel, deadlineMs = DEADLINE_MS } = this.#options;
    const client = await this.#inTime(deadlineMs, connect());
    if (this.#isOver) return;
    this.#client = client;
    client.on("error", (error: Error) => this.#lose(error));
    this.#gone = new Promise((resolve) => client.once("end", resolve));
    void this.#gone.then(() => this.#lose(new Error("Connection terminated")));
    client.on("notification", ({ payload }: { readonly payload?: string }) => this.#hear(payload ?? ""));
    await this.#inTime(
      deadlineMs,
      new Promise<void>((resolve, reject) => {
        client.connect((error) => (error ? reject(error) : resolve()));
      }),
    );
    // It waits on behalf of others, who keep the process alive if that is what they want.
    client.unref?.();
    await this.#inTime(deadlineMs, this.#query(`listen "${channel.replaceAll('"', '""')}"`));
  }

  /** Whether a notification that is sent by another connection arrives at this one. */
  async test(): Promise<boolean> {
    const { database, channel, testMs = TEST_MS } = this.#options;
    const payload = `${TEST}${crypto.randomUUID()}`;
    const arrival = new Promise<true>((resolve) => {
      this.#expected = { payload, arrived: () => resolve(true) };
    });
    await this.#inTime(undefined, database.query(NOTIFY, [channel, payload]));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => (timer = setTimeout(resolve, testMs, false).unref()));
    try {
      return await Promise.race([arrival, late, this.#lost]);
    } finally {
      clearTimeout(timer);
      this.#expected = undefined;
    }
  }

  /** Ask again and again whether the server is still there. @throws when it is not */
  async whenLost(): Promise<never> {
    const { beatEveryMs = BEAT_EVERY_MS, beatTimeoutMs = BEAT_TIMEOUT_MS } = this.#options;
    const beat = async (): Promise<void> => {
      try {
        await this.#inTime(beatTimeoutMs, this.#query("select 1"));
        if (!this.#isOver) this.#beat = setTimeout(() => void beat(), beatEveryMs).unref();
      } catch (error) {
        this.#lose(error);
      }
    };
    this.#beat = setTimeout(() => void beat(), beatEveryMs).unref();
    return this.#lost;
  }

  /** Let go of the connection. Nothing is heard after it. */
  end(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#beat);
    this.#lose(new Error("closed"));
    const client = this.#client;
    if (client === undefined) return;
    client.end(() => undefined);
    await atMost(GOODBYE_MS, this.#gone);
    client.connection?.stream?.destroy();
  }

  #hear(payload: string): void {
    if (this.#isOver) return;
    if (payload === this.#expected?.payload) this.#expected.arrived();
    if (!payload.startsWith(TEST)) this.#options.heard(payload);
  }

  #query(text: string): Promise<PgResult> {
    const client = this.#client as PgClient;
    return new Promise((resolve, reject) => {
      client.query({ text, rowMode: "array", types: RAW }, (error, result) =>
        error ? reject(error) : resolve(result),
      );
    });
  }

  /** An answer, or the loss of the connection, or the end of patience. */
  async #inTime<T>(ms: number | undefined, answer: Promise<T>): Promise<T> {
    if (ms === undefined) return Promise.race([answer, this.#lost]);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`timeout expired: no answer within ${ms} ms`)), ms).unref();
    });
    try {
      return await Promise.race([answer, this.#lost, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

const NOTIFY = { name: "jobwright_notify", text: "select pg_notify($1::text, $2::text)" };
