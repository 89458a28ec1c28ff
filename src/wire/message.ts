import { METHODS, type MethodName, SCOPES, type Scope } from "./methods.ts";
import { type Failure, failure } from "./failure.ts";
import { wireLimits } from "./limits.ts";
import { integer, list, MalformedError, number, oneOf, record, type Shape, text } from "./shape.ts";

/** The version of the protocol that this jobwright speaks. */
export const PROTOCOL = 2;

/**
 * Those that its server serves: clients are updated after it, one by one. A client is never older than its server's
 * oldest, and a server never older than its client: it would pass over what it does not know, a limit for example.
 */
export const SERVED: readonly number[] = [1, 2];

/** The WebSocket subprotocol: what knocks without it is something else. */
export const SUBPROTOCOL = "jobwright";

/** The first message of a connection, by the client. */
export interface Hello {
  readonly protocol: number;
  /** Program and version, for whoever looks at the server. */
  readonly client: string;
  /** Where the transport has no header for it. */
  readonly token?: string;
}

/** The answer to it. */
export interface Welcome {
  readonly protocol: number;
  readonly server: string;
  /** What the storage behind calls itself. */
  readonly label: string;
  readonly scopes: readonly Scope[];
  /** Calls that may wait for their answer at once. */
  readonly credits: number;
  /** A client that says nothing for three times as long is taken for gone, in ms. */
  readonly heartbeatMs: number;
  /** The storage's clock, epoch ms. */
  readonly now: number;
}

const label = text(wireLimits.tokenLength);
const version = integer(0, 1_000_000);

export const hello: Shape<Hello> = record<Hello>({
  needs: { protocol: version, client: label },
  may: { token: label },
});

export const welcome: Shape<Welcome> = record<Welcome>({
  needs: {
    protocol: version,
    server: label,
    label,
    scopes: list(oneOf(...SCOPES), SCOPES.length),
    credits: integer(1, 1_000_000),
    heartbeatMs: integer(1, 86_400_000),
    now: number(),
  },
  may: {},
});

/** What a client sends, after its hello. Numbers are its own, each used once. */
export type ToServer =
  | readonly ["hello", Hello]
  | readonly ["call", id: number, method: MethodName, args: readonly unknown[]]
  | readonly ["watch", id: number, interest: unknown]
  | readonly ["unwatch", id: number]
  | readonly ["ping", id: number];

/** What a server sends, after its welcome. */
export type ToClient =
  | readonly ["welcome", Welcome]
  /** Instead of a welcome; the connection ends. */
  | readonly ["refused", Failure]
  | readonly ["answer", id: number, result: unknown]
  | readonly ["failure", id: number, failure: Failure]
  /** What a watch waits for may have happened. */
  | readonly ["wake", id: number]
  /** The storage's clock with it. */
  | readonly ["pong", id: number, now: number]
  /** The server stops: what is asked from now on is asked of the next one. */
  | readonly ["bye", reason: string];

const number53 = integer(0);
const reason = text(wireLimits.errorLength);

/** @throws MalformedError */
export function readToServer(message: unknown): ToServer {
  const [kind, first, second, third] = parts(message);
  switch (kind) {
    case "hello":
      return ["hello", hello.in(first)];
    case "call": {
      const id = number53.in(first);
      if (typeof second !== "string") throw new MalformedError("names no method.", ["call"]);
      if (!Array.isArray(third)) throw new MalformedError("has no list of arguments.", ["call"]);
      return ["call", id, second as MethodName, third];
    }
    case "watch":
      return ["watch", number53.in(first), second];
    case "unwatch":
      return ["unwatch", number53.in(first)];
    case "ping":
      return ["ping", number53.in(first)];
    default:
      throw new MalformedError("is of no kind that a client sends.", ["message"]);
  }
}

/** @throws MalformedError */
export function readToClient(message: unknown): ToClient {
  const [kind, first, second] = parts(message);
  switch (kind) {
    case "welcome":
      return ["welcome", welcome.in(first)];
    case "refused":
      return ["refused", failure.in(first)];
    case "answer":
      return ["answer", number53.in(first), second];
    case "failure":
      return ["failure", number53.in(first), failure.in(second)];
    case "wake":
      return ["wake", number53.in(first)];
    case "pong":
      return ["pong", number53.in(first), number().in(second)];
    case "bye":
      return ["bye", reason.in(first)];
    default:
      throw new MalformedError("is of no kind that a server sends.", ["message"]);
  }
}

function parts(message: unknown): readonly unknown[] {
  if (!Array.isArray(message)) throw new MalformedError("is not a list.", ["message"]);
  return message;
}

/** Whether there is such a method. A name is data: "constructor" is none. */
export function isMethod(name: string): name is MethodName {
  return Object.hasOwn(METHODS, name);
}

/** Arguments as they are packed. */
export function packArgs(method: MethodName, args: readonly unknown[]): unknown[] {
  const shapes = METHODS[method].args as readonly Shape<unknown>[];
  return shapes.map((shape, index) => shape.out(args[index]));
}

/** A result as it is packed for a client of some version: in words that it knows. */
export function packResult(method: MethodName, result: unknown, protocol: number): unknown {
  const packed = (METHODS[method].result as Shape<unknown>).out(result);
  if (protocol >= 2 || method !== "change") return packed;
  // Version 1 has no unique keys: the job's state does not allow it.
  return (packed as readonly string[]).map((word) => (word === "conflict" ? "unchanged" : word));
}

/** @throws MalformedError */
export function readArgs(method: MethodName, args: readonly unknown[]): unknown[] {
  const shapes = METHODS[method].args as readonly Shape<unknown>[];
  return shapes.map((shape, index) => {
    try {
      return shape.in(args[index]);
    } catch (error) {
      throw error instanceof MalformedError ? error.within(`${method}(${index})`) : error;
    }
  });
}
