import { monotonicMs } from "../clock.ts";
import { AccessDeniedError, ProtocolError, StorageUnavailableError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Interest, Storage, Unwatch } from "../storage/storage.ts";
import type { Channel } from "../wire/channel.ts";
import { type Failure, failure, failureOf } from "../wire/failure.ts";
import { unpackFrame } from "../wire/frame.ts";
import { wireLimits } from "../wire/limits.ts";
import {
  type Hello,
  isMethod,
  packResult,
  PROTOCOL,
  readArgs,
  readToServer,
  SERVED,
  type ToClient,
  type ToServer,
  welcome,
} from "../wire/message.ts";
import { allows, METHODS, type MethodName, type Scope } from "../wire/methods.ts";
import { Outbox } from "../wire/outbox.ts";
import { MalformedError } from "../wire/shape.ts";
import { interest as interestShape } from "../wire/values.ts";
import type { Access, Credentials } from "./access.ts";
import type { Counters } from "./counters.ts";
import { isLarge, LargeAnswers } from "./large-answers.ts";

/** What all sessions of a server share. */
export interface SessionDeps {
  readonly storage: Storage;
  readonly access: Access;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly server: string;
  readonly heartbeatMs: number;
  readonly callsPerSecond: number;
  /** The session is over. */
  readonly ended: (session: Session) => void;
}

/** Bytes that a client has not read yet, beyond which nothing more is taken from it ... */
const SLOW_BYTES = 16_777_216;
/** ... and after which time of this it is cut off, in heartbeats. */
const SLOW_BEATS = 6;
/** Time to say hello, and silence after which a client is gone, in heartbeats. */
const SILENT_BEATS = 3;

const TOO_MUCH = `More than ${wireLimits.callBytes} bytes of this client wait for the storage. The call may be repeated.`;

/** One connection of a client, from its hello to its end. Garbage ends it, and nothing else. */
export class Session {
  readonly #channel: Channel;
  readonly #credentials: Credentials;
  readonly #deps: SessionDeps;
  readonly #outbox: Outbox;
  readonly #watches = new Map<number, { readonly end: Unwatch; readonly size: number }>();
  /** What all of them wait for. */
  #watched = 0;
  #scopes: readonly Scope[] | undefined;
  /** The version that the client speaks. */
  #protocol = PROTOCOL;
  #calls = 0;
  /** Size of the frames they came in: about what is kept of them while the storage takes its time. */
  #callBytes = 0;
  readonly #large: LargeAnswers = new LargeAnswers(
    () => !this.#isOver && this.#channel.queuedBytes <= SLOW_BYTES,
  );
  #tickedAt = monotonicMs();
  #isOver = false;
  #isStopping = false;
  #heardAt = monotonicMs();
  /** Messages that may come now; refilled by the second. A ping costs its answer like any call. */
  #allowance: number;
  #allowanceAt = monotonicMs();
  #isPaused = false;
  #slowSince: number | undefined;
  #idle: (() => void) | undefined;
  /** Who it is, for the log. */
  readonly peer: string;

  constructor(channel: Channel, credentials: Credentials, peer: string, deps: SessionDeps) {
    this.#channel = channel;
    this.#credentials = credentials;
    this.#deps = deps;
    this.peer = peer;
    this.#allowance = deps.callsPerSecond;
    this.#outbox = new Outbox({
      send: (frame) => {
        deps.counters.framesOut += 1;
        deps.counters.bytesOut += frame.length;
        channel.send(frame);
      },
    });
    channel.listen({ frame: (bytes) => this.#receive(bytes), closed: () => this.#over() });
  }

  /** Looks after time: silence, slow readers, and those who were made to wait. Called a few times a heartbeat. */
  tick(now: number): void {
    const { heartbeatMs, counters, logger } = this.#deps;
    // What came while this process was held up has not been read yet.
    if (now - this.#tickedAt > heartbeatMs) this.#heardAt = now;
    this.#tickedAt = now;
    if (now - this.#heardAt > SILENT_BEATS * heartbeatMs && !this.#isPaused) {
      return this.#end(`${this.peer} was silent for ${SILENT_BEATS * heartbeatMs} ms`);
    }
    const isSlow = this.#channel.queuedBytes > SLOW_BYTES;
    if (!isSlow) this.#slowSince = undefined;
    else this.#slowSince ??= now;
    if (this.#slowSince !== undefined && now - this.#slowSince > SLOW_BEATS * heartbeatMs) {
      counters.slow += 1;
      logger.warn(`the job server cut off ${this.peer}: it does not read its answers`);
      return this.#end("answers are not read");
    }
    this.#refill(now);
    this.#steer();
    this.#large.admit();
  }

  /** Tell the client to look for another server, and end once its calls are answered. */
  async stop(): Promise<void> {
    if (this.#isOver) return;
    this.#isStopping = true;
    this.#post(["bye", "The job server is stopping."]);
    if (this.#calls > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#close("stopping");
  }

  /** End it at once. */
  destroy(): void {
    this.#channel.destroy();
    this.#over();
  }

  #receive(bytes: Uint8Array): void {
    if (this.#isOver) return;
    const { counters } = this.#deps;
    counters.framesIn += 1;
    counters.bytesIn += bytes.length;
    this.#heardAt = monotonicMs();
    try {
      if (this.#scopes === undefined && bytes.length > wireLimits.helloBytes) {
        throw new MalformedError(`is larger than ${wireLimits.helloBytes} bytes before a hello.`, ["frame"]);
      }
      const messages = unpackFrame(bytes);
      for (const message of messages) {
        if (this.#isOver) return;
        this.#allowance -= 1;
        this.#take(readToServer(message), bytes.length / messages.length);
      }
    } catch (error) {
      counters.malformed += 1;
      if (!(error instanceof MalformedError))
        this.#deps.logger.error(`the job server failed: ${String(error)}`);
      this.#end(error instanceof MalformedError ? error.message : "internal error");
    }
    this.#steer();
  }

  #take(message: ToServer, bytes: number): void {
    if (this.#scopes === undefined) {
      if (message[0] !== "hello") throw new MalformedError("comes before a hello.", ["message"]);
      return this.#greet(message[1]);
    }
    switch (message[0]) {
      case "hello":
        throw new MalformedError("comes twice.", ["hello"]);
      case "call":
        if (this.#calls >= wireLimits.credits) {
          throw new MalformedError(`is one more than the ${wireLimits.credits} that may wait.`, ["call"]);
        }
        return void this.#call(message, bytes);
      case "watch":
        return this.#watch(message[1], message[2]);
      case "unwatch":
        return this.#unwatch(message[1]);
      case "ping":
        return this.#post(["pong", message[1], this.#deps.storage.clock.now()]);
    }
  }

  #greet({ protocol, token }: Hello): void {
    const { access, storage, server, heartbeatMs, counters } = this.#deps;
    try {
      if (!SERVED.includes(protocol)) {
        throw new ProtocolError(
          `The job server speaks the versions ${SERVED.join(" and ")} of the protocol, the client version ` +
            `${protocol}. Update the older of the two.`,
        );
      }
      const scopes = access.scopesOf({ ...this.#credentials, ...(token === undefined ? {} : { token }) });
      this.#post([
        "welcome",
        welcome.out({
          protocol,
          server,
          label: storage.label,
          scopes,
          credits: wireLimits.credits,
          heartbeatMs,
          now: storage.clock.now(),
        }) as never,
      ]);
      this.#scopes = scopes;
      this.#protocol = protocol;
      counters.accepted += 1;
      if (this.#isStopping) this.#post(["bye", "The job server is stopping."]);
    } catch (error) {
      counters.refused += 1;
      this.#post(["refused", packedFailure(error)]);
      this.#close("refused");
    }
  }

  async #call(
    [, id, name, packed]: ToServer & readonly ["call", ...unknown[]],
    bytes: number,
  ): Promise<void> {
    const { storage, counters, logger } = this.#deps;
    this.#calls += 1;
    this.#callBytes += bytes;
    const began = monotonicMs();
    let answer: ToClient;
    let failed = false;
    let hasTurn = false;
    try {
      const method = this.#permitted(name);
      if (this.#callBytes > wireLimits.callBytes) throw new StorageUnavailableError(TOO_MUCH);
      const args = readArgs(method, packed);
      hasTurn = isLarge(method);
      if (hasTurn) await this.#large.turn();
      const call = storage[method] as ((...args: unknown[]) => Promise<unknown>) | undefined;
      // Not every engine has every method; for those it lacks there is nothing to do.
      const result = call === undefined ? undefined : await call.apply(storage, args);
      answer = ["answer", id, packResult(method, result, this.#protocol)];
    } catch (error) {
      failed = true;
      const told = failureOf(error);
      if (told.code === undefined)
        logger.error(`the job server failed in ${name}: ${told.name}: ${told.message}`);
      answer = ["failure", id, failure.out(told) as Failure];
    }
    this.#calls -= 1;
    this.#callBytes -= bytes;
    if (isMethod(name)) counters.called(name, monotonicMs() - began, failed);
    this.#answer(id, answer);
    if (this.#calls === 0) this.#idle?.();
    // After the answer has been handed to the channel, which counts it.
    if (hasTurn) queueMicrotask(() => this.#large.done());
  }

  #answer(id: number, answer: ToClient): void {
    try {
      this.#post(answer);
    } catch (error) {
      // More than can be packed at all.
      this.#deps.logger.error(`the job server cannot send an answer: ${String(error)}`);
      this.#post(["failure", id, packedFailure(error)]);
    }
  }

  #permitted(name: string): MethodName {
    if (!isMethod(name)) throw new ProtocolError(`There is no method ${JSON.stringify(name.slice(0, 100))}.`);
    const { scope } = METHODS[name];
    if (!allows(this.#scopes as readonly Scope[], scope)) throw denied(name, scope);
    if (this.#isStopping) {
      throw new StorageUnavailableError("The job server is stopping. The call may be repeated.");
    }
    return name;
  }

  #watch(id: number, packed: unknown): void {
    const { storage } = this.#deps;
    if (!allows(this.#scopes as readonly Scope[], "read"))
      return this.#post(["failure", id, packedFailure(denied("watch", "read"))]);
    if (this.#watches.has(id)) throw new MalformedError("has a number that is taken.", ["watch"]);
    if (this.#watches.size >= wireLimits.watches) {
      throw new MalformedError(`is one more than ${wireLimits.watches}.`, ["watch"]);
    }
    const interest: Interest = interestShape.in(packed);
    const size = sizeOf(interest);
    if (this.#watched + size > wireLimits.watched) {
      throw new MalformedError(`waits for more than ${wireLimits.watched} lanes and jobs with the others.`, [
        "watch",
      ]);
    }
    let isTold = false;
    const wake = (): void => {
      // Once a turn is enough for a hint.
      if (isTold) return;
      isTold = true;
      queueMicrotask(() => (isTold = false));
      this.#post(["wake", id]);
    };
    try {
      this.#watches.set(id, { end: storage.watch(interest, wake), size });
      this.#watched += size;
    } catch {
      // A hint: whoever polls finds out what is wrong.
    }
  }

  #unwatch(id: number): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    this.#watches.delete(id);
    this.#watched -= watch.size;
    watch.end();
  }

  #post(message: ToClient): void {
    if (!this.#isOver) this.#outbox.post(message);
  }

  /** Who asks for more than he may, or does not read what he got, is not read from for a while. */
  #steer(): void {
    if (this.#isOver) return;
    const mustWait = this.#allowance < 0 || this.#channel.queuedBytes > SLOW_BYTES;
    if (mustWait === this.#isPaused) return;
    this.#isPaused = mustWait;
    if (mustWait) this.#channel.pause();
    else {
      this.#heardAt = monotonicMs();
      this.#channel.resume();
    }
  }

  #refill(now: number): void {
    const { callsPerSecond } = this.#deps;
    this.#allowance = Math.min(
      callsPerSecond,
      this.#allowance + ((now - this.#allowanceAt) / 1_000) * callsPerSecond,
    );
    this.#allowanceAt = now;
  }

  #end(reason: string): void {
    this.#close(reason);
    this.#over();
  }

  #close(reason: string): void {
    this.#outbox.flush();
    this.#channel.close(reason);
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { end } of this.#watches.values()) end();
    this.#watches.clear();
    this.#large.clear();
    this.#idle?.();
    this.#deps.ended(this);
  }
}

function sizeOf({ available = [], finished = [] }: Interest): number {
  let size = 1 + finished.length;
  for (const { names = [] } of available) size += 1 + names.length;
  return size;
}

function packedFailure(error: unknown): Failure {
  return failure.out(failureOf(error)) as Failure;
}

function denied(what: string, scope: Scope): AccessDeniedError {
  return new AccessDeniedError(`This token does not allow \`${what}\`, which needs the scope "${scope}".`);
}
