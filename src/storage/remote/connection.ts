import { monotonicMs } from "../../clock.ts";
import { ProtocolError, StorageClosedError, StorageUnavailableError } from "../../errors.ts";
import { backoffMs } from "../../job/backoff.ts";
import type { Logger } from "../../logger.ts";
import type { Interest, Unwatch } from "../storage.ts";
import { wireLimits } from "../../wire/limits.ts";
import type { Channel } from "../../wire/channel.ts";
import { errorOf } from "../../wire/failure.ts";
import { unpackFrame } from "../../wire/frame.ts";
import { hello, packArgs, PROTOCOL, readToClient, type ToClient, type Welcome } from "../../wire/message.ts";
import { METHODS, type MethodName } from "../../wire/methods.ts";
import { Outbox } from "../../wire/outbox.ts";
import type { Shape } from "../../wire/shape.ts";
import { interest as interestShape } from "../../wire/values.ts";
import { ChangeSignal } from "./change-signal.ts";
import type { Dial } from "./dial.ts";
import type { RemoteClock } from "./remote-clock.ts";
import { isRefusal, troubleOf } from "./trouble.ts";

export interface ConnectionOptions {
  readonly dial: Dial;
  readonly clock: RemoteClock;
  readonly logger: Logger;
  readonly client: string;
  /** Longest time between two looks whether the server is still there, in ms; the server may ask for less. */
  readonly heartbeatMs: number;
}

/** Waits between attempts to connect: doubled each time, and up to half as much again at random. */
const RETRY = { kind: "exponential", firstMs: 50, factor: 2, maxMs: 1_500, jitter: 0.5 } as const;
/** Where trying again will not help before somebody does something. */
const REFUSED_MS = 5_000;
/** Silence after which nobody is there, in heartbeats: judged at each of them, so it is noticed with the second. */
const SILENT_BEATS = 1.5;
/** Time for one attempt to connect and to be welcomed, in ms. */
const CONNECT_MS = 10_000;

/** A call and whoever waits for it. */
interface Call {
  readonly id: number;
  readonly method: MethodName;
  readonly packed: readonly unknown[];
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
  /** Its caller has given up: it is not made again. */
  isLate: boolean;
}

interface Watch {
  readonly packed: unknown;
  readonly wake: () => void;
}

/** A connection that was welcomed. */
interface Link {
  readonly channel: Channel;
  readonly outbox: Outbox;
  readonly credits: number;
}

/**
 * The one connection of a client, made again for as long as it is wanted. Calls that came to no answer are made
 * again on the next one, with the same arguments, when that has no second effect; all others fail and say so.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #waiting: Call[] = [];
  readonly #sent = new Map<number, Call>();
  readonly #watches = new Map<number, Watch>();
  #link: Link | undefined;
  #connecting: Promise<void> | undefined;
  /** Why the last attempt failed. */
  #trouble: Error | undefined;
  #failures = 0;
  /** Ends the wait before the next attempt. */
  #retry: (() => void) | undefined;
  readonly #changes = new ChangeSignal();
  readonly #dialing = new AbortController();
  #closed = false;
  #isWanted = false;
  #nextId = 1;
  #sessionEnds: (() => void) | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#link !== undefined;
  }

  /** Connect, within a time. A refusal that will stand is told at once. */
  async open(deadlineMs: number): Promise<void> {
    const until = monotonicMs() + deadlineMs;
    this.#isWanted = true;
    this.#trouble = undefined;
    this.#run();
    while (this.#link === undefined) {
      if (this.#closed) throw new StorageClosedError(`The storage "${this.#options.dial.label}"`);
      const left = until - monotonicMs();
      if (isRefusal(this.#trouble) || left <= 0) {
        // Who could not open has nothing to close: no connection is made behind his back when a server comes.
        this.#isWanted = false;
        this.#retry?.();
        throw (
          this.#trouble ??
          new StorageUnavailableError(
            `No job server answers at ${this.#options.dial.label}. Start one with \`jobwright serve\`.`,
          )
        );
      }
      await this.#changes.next(left);
    }
  }

  /** Make a call, on this connection or a later one. */
  call(method: MethodName, args: readonly unknown[], deadlineMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId;
      this.#nextId += 1;
      const packed = packArgs(method, args);
      const timer = setTimeout(() => this.#late(id, method, deadlineMs), deadlineMs);
      this.#waiting.push({ id, method, packed, resolve, reject, timer, isLate: false });
      this.#send();
    });
  }

  watch(interest: Interest, wake: () => void): Unwatch {
    // A hint that the server would refuse: whoever waits looks again by himself.
    if (this.#watches.size >= wireLimits.watches) return () => undefined;
    const id = this.#nextId;
    this.#nextId += 1;
    const watch: Watch = { packed: interestShape.out(interest), wake };
    this.#watches.set(id, watch);
    this.#link?.outbox.post(["watch", id, watch.packed]);
    return () => {
      if (this.#watches.delete(id)) this.#link?.outbox.post(["unwatch", id]);
    };
  }

  /** Let go. Calls that wait for their answer end as they would if the connection had been cut. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dialing.abort();
    this.#watches.clear();
    this.#link?.outbox.flush();
    this.#link?.channel.close("closed");
    this.#link = undefined;
    const error = new StorageClosedError(`The storage "${this.#options.dial.label}"`);
    for (const call of [...this.#sent.values(), ...this.#waiting]) this.#fail(call, error);
    this.#sent.clear();
    this.#waiting.length = 0;
    this.#retry?.();
    this.#sessionEnds?.();
    this.#changes.tell();
  }

  // ── Calls ──────────────────────────────────────────────────────────────────

  #send(): void {
    const link = this.#link;
    if (link === undefined) return this.#hurry();
    while (this.#waiting.length > 0 && this.#sent.size < link.credits) {
      const call = this.#waiting.shift() as Call;
      this.#sent.set(call.id, call);
      link.outbox.post(["call", call.id, call.method, call.packed]);
    }
  }

  #late(id: number, method: MethodName, deadlineMs: number): void {
    const { label } = this.#options.dial;
    const at = this.#waiting.findIndex((call) => call.id === id);
    const call = at >= 0 ? this.#waiting.splice(at, 1)[0] : this.#sent.get(id);
    if (call === undefined) return;
    // It stays among those sent, as the server counts it until it answers.
    call.isLate = true;
    const why =
      this.#link === undefined
        ? `There is no connection to ${label}${this.#trouble === undefined ? "" : `: ${this.#trouble.message}`}`
        : `${label} did not answer \`${method}\` within ${deadlineMs} ms.`;
    call.reject(new StorageUnavailableError(`${why} The call may be repeated.`));
  }

  #fail(call: Call, error: Error): void {
    clearTimeout(call.timer);
    call.reject(error);
  }

  #take(message: ToClient): void {
    switch (message[0]) {
      case "answer":
      case "failure": {
        const call = this.#sent.get(message[1]);
        // A watch that is not allowed: its hints do not come, polling tells why.
        if (call === undefined) return;
        this.#sent.delete(message[1]);
        if (message[0] === "failure") this.#fail(call, errorOf(message[2]));
        else this.#answer(call, message[2]);
        return this.#send();
      }
      case "wake":
        return this.#watches.get(message[1])?.wake();
      default:
        throw new ProtocolError(`The job server sent "${message[0]}" at a time for something else.`);
    }
  }

  #answer(call: Call, packed: unknown): void {
    clearTimeout(call.timer);
    try {
      call.resolve((METHODS[call.method].result as Shape<unknown>).in(packed));
    } catch (error) {
      call.reject(
        new ProtocolError(`The job server's answer to ${call.method} makes no sense: ${String(error)}`),
      );
    }
  }

  // ── Connections ────────────────────────────────────────────────────────────

  #run(): void {
    if (this.#connecting === undefined) this.#connecting = this.#keepConnected();
  }

  async #keepConnected(): Promise<void> {
    while (!this.#closed && this.#isWanted) {
      try {
        const ended = await this.#session();
        if (!this.#closed)
          this.#lost(
            new StorageUnavailableError(`The connection to ${this.#options.dial.label} ended: ${ended}.`),
          );
      } catch (error) {
        this.#lost(troubleOf(error, this.#options.dial.label));
      }
      if (!this.#closed && this.#isWanted) await this.#pause();
    }
    this.#connecting = undefined;
  }

  /** One connection, from its beginning to its end. Answers why it ended. */
  async #session(): Promise<string> {
    const { dial, clock, client } = this.#options;
    const channel = await dial.connect(CONNECT_MS, this.#dialing.signal);
    if (this.#closed || !this.#isWanted) {
      channel.close("closed");
      return "closed";
    }
    const outbox = new Outbox(channel);
    let heardAt = monotonicMs();
    const pings = new Map<number, number>();
    let lastPing = 0;
    let isWelcome = false;
    let isOver = false;
    let beat: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        const sentAt = monotonicMs();
        this.#sessionEnds = () => resolve("closed");
        const greeting = setTimeout(
          () => reject(new StorageUnavailableError(`${dial.label} does not answer a hello.`)),
          CONNECT_MS,
        );
        const welcomed = (welcome: Welcome): void => {
          clearTimeout(greeting);
          if (welcome.protocol !== PROTOCOL) {
            throw new ProtocolError(
              `The job server at ${dial.label} speaks version ${welcome.protocol} of the protocol, this jobwright ` +
                `version ${PROTOCOL}. Update the older of the two.`,
            );
          }
          clock.told(welcome.now, sentAt);
          const everyMs = Math.min(welcome.heartbeatMs, this.#options.heartbeatMs);
          beat = setInterval(() => {
            // Twice unanswered: nobody is there, or nothing comes through. What came while this process was
            // held up is read before it is judged.
            if (monotonicMs() - heardAt > SILENT_BEATS * everyMs) {
              setImmediate(() => {
                if (monotonicMs() - heardAt > SILENT_BEATS * everyMs) resolve("nothing came for too long");
              });
            }
            lastPing += 1;
            pings.clear();
            pings.set(lastPing, monotonicMs());
            outbox.post(["ping", lastPing]);
          }, everyMs);
          beat.unref();
          this.#welcomed({ channel, outbox, credits: welcome.credits });
        };
        channel.listen({
          frame: (bytes) => {
            // What comes after the end, while the close goes out, is for nobody: its calls are made elsewhere.
            if (isOver) return;
            heardAt = monotonicMs();
            try {
              for (const packed of unpackFrame(bytes)) {
                const message = readToClient(packed);
                if (message[0] === "welcome" && !isWelcome) {
                  isWelcome = true;
                  welcomed(message[1]);
                } else if (message[0] === "refused") reject(errorOf(message[1]));
                else if (message[0] === "bye") resolve(message[1]);
                else if (message[0] === "pong") {
                  const asked = pings.get(message[1]);
                  if (asked !== undefined) clock.told(message[2], asked);
                } else this.#take(message);
              }
            } catch (error) {
              reject(error instanceof Error ? error : new Error(String(error)));
            }
          },
          closed: (reason) => {
            clearTimeout(greeting);
            resolve(reason);
          },
        });
        const { token } = dial;
        outbox.post([
          "hello",
          hello.out({ protocol: PROTOCOL, client, ...(token === undefined ? {} : { token }) }),
        ]);
      });
    } finally {
      isOver = true;
      clearInterval(beat);
      this.#sessionEnds = undefined;
      if (this.#link?.channel === channel) this.#link = undefined;
      channel.close("done");
    }
  }

  #welcomed(link: Link): void {
    const { logger, dial } = this.#options;
    if (this.#failures > 0) logger.warn(`${dial.label}: connected again`);
    this.#failures = 0;
    this.#trouble = undefined;
    this.#link = link;
    for (const [id, { packed }] of this.#watches) link.outbox.post(["watch", id, packed]);
    this.#send();
    // What happened meanwhile was told to nobody.
    for (const { wake } of [...this.#watches.values()]) wake();
    this.#changes.tell();
  }

  #lost(error: Error): void {
    const { logger, dial } = this.#options;
    const repeated: Call[] = [];
    for (const call of this.#sent.values()) {
      if (call.isLate) continue;
      if (METHODS[call.method].repetition === "repeated") repeated.push(call);
      else {
        this.#fail(
          call,
          new StorageUnavailableError(
            `The connection to ${dial.label} ended before \`${call.method}\` was answered. The call may be repeated.`,
          ),
        );
      }
    }
    this.#sent.clear();
    this.#waiting.unshift(...repeated);
    this.#trouble = error;
    this.#failures += 1;
    if (this.#failures === 1 && !this.#closed)
      logger.warn(`${dial.label}: ${error.message}; connecting again`);
    if (isRefusal(error)) {
      for (const call of this.#waiting.splice(0)) this.#fail(call, error);
    }
    this.#changes.tell();
  }

  /** Wait before the next attempt; a call that comes meanwhile does not shorten it, a close does. */
  async #pause(): Promise<void> {
    const backoff = isRefusal(this.#trouble) ? { ...RETRY, firstMs: REFUSED_MS, maxMs: REFUSED_MS } : RETRY;
    const ms = backoffMs(backoff, this.#failures, Math.random());
    await new Promise<void>((resolve) => {
      const go = (): void => {
        clearTimeout(timer);
        this.#retry = undefined;
        resolve();
      };
      const timer = setTimeout(go, ms);
      // Whoever waits for an answer has a timer of his own.
      timer.unref();
      this.#retry = go;
    });
  }

  /** After a refusal the next attempt is far away: what is asked meanwhile is refused as well. */
  #hurry(): void {
    if (!isRefusal(this.#trouble) || this.#trouble === undefined) return;
    for (const call of this.#waiting.splice(0)) this.#fail(call, this.#trouble);
  }
}
