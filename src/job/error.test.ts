import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { errorFromJob, serializeError } from "./error.ts";
import type { JobError } from "./job.ts";
import { limits } from "./limits.ts";

describe("serializeError", () => {
  test("keeps name, message, stack, code and cause", () => {
    const cause = Object.assign(new RangeError("disk full"), { code: "ENOSPC" });
    const error = new TypeError("cannot save", { cause });
    expect(serializeError(error)).toEqual({
      name: "TypeError",
      message: "cannot save",
      stack: error.stack,
      cause: { name: "RangeError", message: "disk full", code: "ENOSPC", stack: cause.stack },
    });
  });

  test("keeps the name of a class of one's own, and a numeric code as text", () => {
    class PaymentError extends Error {
      override name = "PaymentError";
      code = 402;
    }
    expect(serializeError(new PaymentError("declined"))).toMatchObject({ name: "PaymentError", code: "402" });
  });

  test.each<[string, unknown, string]>([
    ["a string", "boom", "boom"],
    ["null", null, "null was thrown. Throw an Error to keep a stack."],
    ["undefined", undefined, "undefined was thrown. Throw an Error to keep a stack."],
    ["a number", 42, "42 was thrown. Throw an Error to keep a stack."],
    ["a BigInt", 42n, "42n was thrown. Throw an Error to keep a stack."],
    ["a symbol", Symbol("s"), "Symbol(s) was thrown. Throw an Error to keep a stack."],
    ["an object", { status: 500 }, "{ status: 500 } was thrown. Throw an Error to keep a stack."],
    ["a function", () => 1, "[Function (anonymous)] was thrown. Throw an Error to keep a stack."],
  ])("%s", (_what, thrown, message) => {
    expect(serializeError(thrown)).toEqual({ name: "Error", message });
  });

  test("an object with a message counts as an error", () => {
    expect(serializeError({ name: "GrpcError", message: "unavailable", code: 14 })).toEqual({
      name: "GrpcError",
      message: "unavailable",
      code: "14",
    });
  });

  test.each(["name", "message", "stack", "code", "cause", "errors"])("a getter of %s that throws", (key) => {
    const error = Object.defineProperty(new Error("the rest stays"), key, {
      get() {
        throw new Error("hostile");
      },
    });
    const data = serializeError(error);
    expect(typeof data.name).toBe("string");
    expect(data.message).toContain(key === "message" ? "" : "the rest stays");
    expect(JSON.stringify(data)).not.toContain("hostile");
  });

  test("a proxy whose traps all throw, and a revoked one", () => {
    const traps = new Proxy(
      {},
      {
        get: () => {
          throw new Error("trap");
        },
      },
    );
    const hostile = new Proxy(new Error("x"), traps as ProxyHandler<Error>);
    const { proxy, revoke } = Proxy.revocable(new Error("x"), {});
    revoke();
    for (const thrown of [hostile, proxy]) {
      expect(serializeError(thrown)).toMatchObject({ name: "Error", message: expect.any(String) as string });
    }
  });

  test("a cycle of causes ends", () => {
    const a = new Error("a");
    const b = new Error("b", { cause: a });
    a.cause = b;
    expect(messages(serializeError(a))).toEqual(["a", "b"]);
    const self = new Error("self");
    self.cause = self;
    expect(messages(serializeError(self))).toEqual(["self"]);
  });

  test("keeps the error and its first 5 causes", () => {
    let error = new Error("9");
    for (let n = 8; n >= 0; n--) error = new Error(String(n), { cause: error });
    expect(messages(serializeError(error))).toEqual(["0", "1", "2", "3", "4", "5"]);
  });

  test("a cause that is no error is told, too", () => {
    expect(messages(serializeError(new Error("a", { cause: "why" })))).toEqual(["a", "why"]);
    expect(serializeError(new Error("a", { cause: null })).cause).toBeUndefined();
  });

  test("an AggregateError names its members", () => {
    const error = new AggregateError([new TypeError("a"), "b", null], "All failed");
    expect(serializeError(error)).toMatchObject({
      name: "AggregateError",
      message: "All failed (TypeError: a; Error: b; Error: null was thrown. Throw an Error to keep a stack.)",
    });
    const many = new AggregateError(
      Array.from({ length: 1_000 }, (_, n) => new Error(String(n))),
      "All failed",
    );
    expect(serializeError(many).message).toBe(
      "All failed (Error: 0; Error: 1; Error: 2; Error: 3; Error: 4; and 995 more)",
    );
  });

  test("a huge message is cut, and frames are still there", () => {
    const data = serializeError(new Error("x".repeat(1_000_000)));
    expect(data.message).toHaveLength(limits.errorTextLength / 2);
    expect(data.message.endsWith("x…")).toBe(true);
    expect(data.stack?.startsWith(`Error: xxx`)).toBe(true);
    expect(lengthOf(data)).toBeLessThanOrEqual(limits.errorTextLength);

    const long = serializeError(Object.assign(new Error("$& $1".repeat(2_000)), { stack: undefined }));
    expect(long.stack).toBeUndefined();
    const frames = new Error("y".repeat(9_000));
    expect(serializeError(frames).stack).toContain("error.test");
  });

  test("no half of a character is left at the cut", () => {
    for (const shift of ["", "a"]) {
      const { message } = serializeError(new Error(shift + "👍".repeat(10_000)));
      expect(/\p{Cs}/u.test(message)).toBe(false);
    }
  });

  test("huge texts everywhere stay within the limit together", () => {
    const huge = "z".repeat(50_000);
    let error: Error | undefined;
    for (let n = 0; n < 8; n++) {
      const next = new Error(huge, { cause: error });
      Object.assign(next, { code: huge, stack: huge });
      Object.defineProperty(next, "name", { value: huge });
      error = next;
    }
    const data = serializeError(error);
    expect(lengthOf(data)).toBeLessThanOrEqual(limits.errorTextLength);
    expect(messages(data)).toHaveLength(1 + limits.errorCauses);
  });

  test("never throws, is JSON, and is bounded, whatever is thrown", () => {
    const part = fc.oneof(
      fc.string(),
      fc.tuple(fc.string(), fc.nat(20_000)).map(([text, n]) => text.padEnd(n, "é")),
      fc.anything(),
    );
    const errorLike = fc.record(
      { name: part, message: part, stack: part, code: part, cause: part, errors: fc.anything() },
      { requiredKeys: [] },
    );
    const real = fc
      .tuple(part, errorLike)
      .map(([message, more]) =>
        Object.assign(new Error(String(typeof message === "string" ? message : "m")), more),
      );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything({ withBigInt: true, withDate: true, withMap: true, withSparseArray: true }),
          errorLike,
          real,
        ),
        (thrown) => {
          const data = serializeError(thrown);
          expect(typeof data.name === "string" && data.name !== "" && typeof data.message === "string").toBe(
            true,
          );
          expect(lengthOf(data)).toBeLessThanOrEqual(limits.errorTextLength);
          expect(messages(data).length).toBeLessThanOrEqual(1 + limits.errorCauses);
          expect(JSON.parse(JSON.stringify(data))).toEqual(data);
        },
      ),
      { numRuns: 3_000 },
    );
  });
});

describe("errorFromJob", () => {
  test("makes an Error of the same texts, which tells the same again", () => {
    const original = Object.assign(new TypeError("cannot save", { cause: new Error("disk full") }), {
      code: "E1",
    });
    const data = serializeError(original);
    const rebuilt = errorFromJob(data);
    expect(rebuilt).toBeInstanceOf(Error);
    expect(rebuilt).toMatchObject({
      name: "TypeError",
      message: "cannot save",
      code: "E1",
      stack: original.stack,
    });
    expect(serializeError(rebuilt)).toEqual(data);
    expect(Object.keys(rebuilt)).toEqual(["code"]);
  });

  test("without a stack there is a headline and no misleading frame", () => {
    expect(errorFromJob({ name: "ProcessLostError", message: "gone" }).stack).toBe("ProcessLostError: gone");
  });

  test("a stored chain without end is cut", () => {
    let data: JobError = { name: "Error", message: "end" };
    for (let n = 0; n < 50_000; n++) data = { name: "Error", message: "more", cause: data };
    expect(messages(serializeError(errorFromJob(data)))).toHaveLength(1 + limits.errorCauses);
  });
});

function messages(error: JobError | undefined): string[] {
  return error === undefined ? [] : [error.message, ...messages(error.cause)];
}

function lengthOf(error: JobError | undefined): number {
  if (error === undefined) return 0;
  const { name, message, stack = "", code = "" } = error;
  return name.length + message.length + stack.length + code.length + lengthOf(error.cause);
}
