// oxlint-disable vitest/no-conditional-expect -- what must hold depends on the property
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seed } from "../../test/support/size.ts";
import * as errors from "../errors.ts";
import { JobwrightError } from "../errors.ts";
import { errorOf, failure, failureOf } from "./failure.ts";
import { joinFrame, packMessage, unpackFrame } from "./frame.ts";
import { wireLimits } from "./limits.ts";
import { MalformedError } from "./shape.ts";

// Goal: an error that crossed is the error that was thrown, for a `catch` and for a reader, and nothing more of it.

function crossed(error: unknown): Error {
  const packed = packMessage([failure.out(failureOf(error))]);
  const [message] = unpackFrame(joinFrame([packed])) as [unknown[]];
  return errorOf(failure.in(message[0]));
}

/** One of every class there is, made as its constructor wants it. */
const MADE: Readonly<Record<string, JobwrightError>> = {
  InvalidOptionError: new errors.InvalidOptionError("limit", -1, "Use 1 to 1000."),
  InvalidPayloadError: new errors.InvalidPayloadError("a", [{ message: "no", path: ["x", 0] }]),
  InvalidValueError: new errors.InvalidValueError("It", "Why."),
  PayloadTooLargeError: new errors.PayloadTooLargeError("It", 2, 1),
  DuplicateJobError: new errors.DuplicateJobError("a"),
  DuplicateIdError: new errors.DuplicateIdError("a", "g", "7"),
  KeyHeldError: new errors.KeyHeldError("a", "k", "7"),
  MissingHandlerError: new errors.MissingHandlerError("a"),
  MissingDependencyError: new errors.MissingDependencyError("It", "zeromq", new Error("secret")),
  StateError: new errors.StateError("Not now."),
  UnrecoverableError: new errors.UnrecoverableError("Never."),
  TimeoutError: new errors.TimeoutError(5),
  CancelledError: new errors.CancelledError("enough"),
  ShutdownError: new errors.ShutdownError(),
  LeaseLostError: new errors.LeaseLostError(7),
  ProcessLostError: new errors.ProcessLostError("p"),
  ThreadDiedError: new errors.ThreadDiedError(7, "it exited"),
  RolledBackError: new errors.RolledBackError(7),
  JobFailedError: new errors.JobFailedError("7", "no", new Error("secret")),
  JobCancelledError: new errors.JobCancelledError("7", "enough"),
  ResultGoneError: new errors.ResultGoneError("7"),
  ResultTimeoutError: new errors.ResultTimeoutError("7", 5),
  OverloadedError: new errors.OverloadedError("9 enqueues"),
  StorageUnavailableError: new errors.StorageUnavailableError("Away."),
  StorageFullError: new errors.StorageFullError("Full."),
  StorageRefusedError: new errors.StorageRefusedError("Refused."),
  StorageVersionError: new errors.StorageVersionError("It", 9, 1),
  AccessDeniedError: new errors.AccessDeniedError("No."),
  ProtocolError: new errors.ProtocolError("What?"),
  StorageCorruptedError: new errors.StorageCorruptedError("Damaged."),
};

describe("an error of ours", () => {
  const classes = Object.entries(errors as Record<string, unknown>)
    .filter(([, kind]) => typeof kind === "function" && kind.prototype instanceof JobwrightError)
    .map(([name]) => name)
    // Closed is the server's storage then, not the client's: told as one that is away.
    .filter((name) => name !== "StorageClosedError" && name !== "RetryAfter");

  it.each(classes)("%s is the same near and far", (name) => {
    const error = MADE[name];
    if (error === undefined) throw new Error(`Add ${name} to this table.`);
    const far = crossed(error);
    const kind = (errors as Record<string, unknown>)[name] as new (...args: never[]) => Error;
    expect(far).toBeInstanceOf(kind);
    expect(far).toMatchObject({ name, message: error.message, code: error.code });
    for (const [key, value] of Object.entries(error)) {
      if (key !== "cause") expect(far).toHaveProperty(key, value);
    }
    expect(far.stack).not.toBe(error.stack);
    expect(far.cause).toBeUndefined();
    // What loggers print is the same.
    expect(
      Object.keys(far)
        .filter((key) => key !== "code")
        .sort(),
    ).toEqual(
      Object.keys(error)
        .filter((key) => key !== "code" && key !== "cause")
        .sort(),
    );
  });

  it("that says its storage is closed says here that it is away", () => {
    const far = crossed(new errors.StorageClosedError('The storage "memory"'));
    expect(far).toBeInstanceOf(errors.StorageUnavailableError);
  });

  it("is told in bounded length, and what is cut in the middle of a character is still told", () => {
    const far = crossed(new errors.StateError("\ud83d\ude00".repeat(wireLimits.errorLength)));
    expect(far.message).toHaveLength(wireLimits.errorLength);
    const odd = crossed(new errors.StateError(`x${"\ud83d\ude00".repeat(wireLimits.errorLength)}`));
    expect(odd.message).toHaveLength(wireLimits.errorLength);
  });
});

describe("another error", () => {
  it("keeps its name and message, and none of its properties, stack or causes", () => {
    const foreign = Object.assign(new TypeError("x is not a function", { cause: new Error("secret") }), {
      password: "secret",
    });
    const told = failureOf(foreign);
    expect(told).toEqual({ name: "TypeError", message: "x is not a function" });
    expect(errorOf(told)).not.toBeInstanceOf(JobwrightError);
    expect(errorOf(told).message).toBe("The job server failed: TypeError: x is not a function");
  });

  it.each([undefined, null, 7, "text", {}, Symbol("s")])("may be no error at all", (thrown) => {
    expect(crossed(thrown)).toBeInstanceOf(Error);
  });

  it("that says what was malformed is a protocol error", () => {
    expect(crossed(new MalformedError("is not a list.", ["get(0)"]))).toMatchObject({
      name: "ProtocolError",
      message: "get(0) is not a list.",
    });
  });
});

describe("a failure of a hostile server", () => {
  it("makes an error, whatever it says", () => {
    const word = fc.oneof(
      fc.constantFrom(...Object.keys(errors), "JobwrightError", "show", "__proto__", "constructor", ""),
      fc.string({ unit: "binary" }),
    );
    const details = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom(
        '{"__proto__":{"polluted":1},"stack":5,"message":"x","name":7,"toString":null,"cause":1}',
      ),
    );
    fc.assert(
      fc.property(
        fc.record({ name: word, message: word, code: word, details }, { requiredKeys: ["name", "message"] }),
        (value) => {
          const error = errorOf(failure.in(value));
          expect(error).toBeInstanceOf(Error);
          expect(({} as { polluted?: number }).polluted).toBeUndefined();
        },
      ),
      { seed: seed("wire failures"), numRuns: 300 },
    );
  });

  it("with a name of ours but no code of ours is a foreign one", () => {
    expect(errorOf({ name: "StateError", message: "m" })).not.toBeInstanceOf(JobwrightError);
    expect(errorOf({ name: "Nobody", message: "m", code: "ENOENT" })).toMatchObject({ code: "ENOENT" });
  });
});
