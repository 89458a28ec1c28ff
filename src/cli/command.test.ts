import { describe, expect, it } from "vitest";
import * as errors from "../errors.ts";
import { exitCodeOf, lineOf } from "./command.ts";
import { EXIT } from "./terminal.ts";

describe("how a command ends", () => {
  it.each<[unknown, number]>([
    [new errors.InvalidOptionError("--url", "x", "Use another."), EXIT.usage],
    [new errors.InvalidPayloadError("a", []), EXIT.usage],
    [new errors.PayloadTooLargeError("The payload", 2, 1), EXIT.usage],
    [new errors.MissingHandlerError("a"), EXIT.usage],
    [new errors.DuplicateJobError("a"), EXIT.usage],
    [new errors.StorageUnavailableError("away"), EXIT.unreachable],
    [new errors.StorageRefusedError("no"), EXIT.failed],
    [new errors.StorageFullError("full"), EXIT.failed],
    [new errors.AccessDeniedError("no"), EXIT.failed],
    [new errors.DuplicateIdError("a", "b", "1"), EXIT.failed],
    [new errors.MissingDependencyError("postgres:", "pg"), EXIT.failed],
    [new TypeError("a bug"), EXIT.failed],
    ["a text", EXIT.failed],
    [undefined, EXIT.failed],
  ])("%s", (error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });

  it.each<[unknown, string]>([
    [new errors.StorageRefusedError("no\r\n  way\u001b[2J"), String.raw`no way\u001b[2J`],
    [new TypeError("a\nbug"), "TypeError: a bug"],
    ["a text", "Error: a text"],
  ])("is told in one line: %s", (error, line) => {
    expect(lineOf(error)).toBe(line);
  });
});
