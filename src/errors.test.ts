import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as errors from "./errors.ts";
import { InvalidPayloadError, JobwrightError } from "./errors.ts";

const cause = new Error("the cause");

/** One of each class, and what its message has to quote. A class without a row here fails the first test. */
const samples: Record<string, [JobwrightError, ...string[]]> = {
  InvalidOptionError: [
    new errors.InvalidOptionError("queue", "", "Use a name."),
    'queue is ""',
    "Use a name.",
  ],
  InvalidPayloadError: [
    new InvalidPayloadError("resize", [{ path: ["list", 2, "n"], message: "no number" }]),
    '"resize"',
    "list[2].n: no number",
  ],
  InvalidValueError: [
    new errors.InvalidValueError("The result of job 7", "Use null."),
    "result of job 7",
    "Use null.",
  ],
  PayloadTooLargeError: [new errors.PayloadTooLargeError("The payload", 12, 10), "12 bytes", "limit is 10"],
  DuplicateJobError: [new errors.DuplicateJobError("resize"), '"resize"'],
  DuplicateIdError: [
    new errors.DuplicateIdError("resize", "order-7", "48213"),
    '"resize"',
    '"order-7"',
    "48213",
  ],
  KeyHeldError: [new errors.KeyHeldError("resize", "order-7", "48213"), '"resize"', '"order-7"', "job 48213"],
  MissingHandlerError: [new errors.MissingHandlerError("resize"), '"resize"', "implement()"],
  MissingDependencyError: [
    new errors.MissingDependencyError("postgres:", "pg", cause),
    "postgres:",
    'package "pg"',
    "npm install pg",
  ],
  StateError: [new errors.StateError("The worker was stopped."), "The worker was stopped."],
  UnrecoverableError: [new errors.UnrecoverableError("no such file"), "no such file"],
  TimeoutError: [new errors.TimeoutError(900), "900 ms"],
  CancelledError: [new errors.CancelledError("by hand"), "by hand"],
  ShutdownError: [new errors.ShutdownError(), "no attempt is spent"],
  LeaseLostError: [new errors.LeaseLostError(48_213), "Job 48213"],
  ProcessLostError: [new errors.ProcessLostError("p-77"), "p-77"],
  RolledBackError: [new errors.RolledBackError(77), "77"],
  ThreadDiedError: [new errors.ThreadDiedError(77, "it exited with code 1."), "job 77", "exited with code 1"],
  JobFailedError: [new errors.JobFailedError("7", "boom", cause), "Job 7", "boom"],
  JobCancelledError: [new errors.JobCancelledError("7", "by hand"), "Job 7", "by hand"],
  ResultGoneError: [new errors.ResultGoneError("7"), "Job 7", "retention"],
  ResultTimeoutError: [new errors.ResultTimeoutError("7", 250), "Job 7", "250 ms"],
  OverloadedError: [new errors.OverloadedError("10000 enqueues"), "10000 enqueues", "enqueueMany()"],
  StorageUnavailableError: [new errors.StorageUnavailableError("No answer."), "No answer."],
  StorageClosedError: [new errors.StorageClosedError("memory"), "memory", "Connect again"],
  StorageFullError: [new errors.StorageFullError("No room."), "No room."],
  StorageRefusedError: [new errors.StorageRefusedError("Read-only."), "Read-only."],
  StorageVersionError: [
    new errors.StorageVersionError("lmdb:/jobs", 9, 3),
    "lmdb:/jobs",
    "format 9",
    "up to 3",
  ],
  AccessDeniedError: [new errors.AccessDeniedError("No token."), "No token."],
  ProtocolError: [new errors.ProtocolError("Another version."), "Another version."],
  StorageCorruptedError: [new errors.StorageCorruptedError("Bad page."), "Bad page."],
};

/** Names of the exported classes, in the file's order. */
const source = readFileSync(new URL("./errors.ts", import.meta.url), "utf8");
const declared = [...source.matchAll(/^export class (\w+) extends JobwrightError/gm)].map(([, name]) => name);

test("there is a sample of every class", () => {
  const exported = Object.entries(errors)
    .filter(([, value]) => typeof value === "function" && value.prototype instanceof JobwrightError)
    .map(([name]) => name);
  expect(exported.sort()).toEqual([...declared].sort());
  expect(Object.keys(samples)).toEqual(declared);
});

describe.each(Object.entries(samples))("%s", (name, [error, ...quoted]) => {
  test("has its name, a code of its own and a message that quotes the value", () => {
    expect(error).toBeInstanceOf(JobwrightError);
    expect(error.name).toBe(name);
    expect(error.code).toMatch(/^JOBWRIGHT_[A-Z]+(_[A-Z]+)*$/);
    const same = Object.values(samples).filter(([other]) => other.code === error.code);
    expect(same).toHaveLength(1);
    for (const text of quoted) expect(error.message).toContain(text);
    expect(String(error)).toBe(`${name}: ${error.message}`);
    expect(error.stack).toContain("errors.test");
  });
});

test("causes and facts are kept", () => {
  expect(samples["JobFailedError"]?.[0].cause).toBe(cause);
  expect(samples["MissingDependencyError"]?.[0].cause).toBe(cause);
  expect(samples["JobFailedError"]?.[0]).toMatchObject({ jobId: "7" });
  expect(samples["JobCancelledError"]?.[0]).toMatchObject({ jobId: "7", reason: "by hand" });
  expect(samples["DuplicateIdError"]?.[0]).toMatchObject({ existingId: "48213" });
  expect(samples["InvalidOptionError"]?.[0]).toMatchObject({ option: "queue", value: "" });
  expect(new errors.StorageRefusedError("x", { cause }).cause).toBe(cause);
});

test("the name of a subclass is its own", () => {
  class NoSuchFileError extends errors.UnrecoverableError {}
  expect(new NoSuchFileError("a").name).toBe("NoSuchFileError");
});

describe("InvalidPayloadError", () => {
  test("shows five issues and counts the rest", () => {
    const issues = Array.from({ length: 8 }, (_, n) => ({ path: [n], message: `issue ${n}` }));
    const { message } = new InvalidPayloadError("resize", issues);
    expect(message).toContain("[4]: issue 4 (and 3 more)");
    expect(message).not.toContain("issue 5");
  });

  test("names the root", () => {
    expect(new InvalidPayloadError("a", [{ path: [], message: "no object" }]).message).toContain(
      "payload: no object",
    );
  });
});

describe("docs/errors.md", () => {
  const rows = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );

  test("has a row for every class with its code, in order", () => {
    const documented = rows.map(([code, name]) => [code, name]);
    expect(documented).toEqual(
      declared.map((name) => [`\`${samples[String(name)]?.[0].code}\``, `\`${name}\``]),
    );
  });

  test("says of each when it comes and what to do", () => {
    for (const row of rows) {
      expect(row).toHaveLength(4);
      expect(row[2]).toMatch(/\.$/);
      expect(row[3]).toMatch(/\.$/);
    }
  });
});
