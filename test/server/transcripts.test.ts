// oxlint-disable vitest/no-conditional-expect -- what must hold depends on what the document says
import { describe, expect, it } from "vitest";
import { unpackFrame } from "../../src/wire/frame.ts";
import { wireLimits } from "../../src/wire/limits.ts";
import { PROTOCOL, SERVED } from "../../src/wire/message.ts";
import { allows, METHODS, SCOPES } from "../../src/wire/methods.ts";
import { code, document, table } from "./support/protocol-document.ts";
import { RawClient } from "./support/raw-client.ts";
import { serving } from "./support/serving.ts";

// Goal: docs/reference/protocol.md is true: who writes a client by it writes one that works.
// Method: its transcripts are played against a real server by a client of libraries alone, and its tables are compared
// with the code. What it says of types is held by `protocol-types.test.ts`.

describe("the tables", () => {
  it("have every method with its scope, its repetition and the number of its arguments", () => {
    const told = table("Methods").map(([method, scope, repetition, args = ""]) => ({
      method: code(method),
      scope,
      repetition,
      args: args === "–" ? 0 : args.replace(", at most 32", "").split(", ").length,
    }));
    const known = Object.entries(METHODS).map(([method, { scope, repetition, args }]) => ({
      method,
      scope,
      repetition,
      args: args.length,
    }));
    expect(told).toEqual(known);
  });

  it("have every limit with its value", () => {
    const told = table("Limits").map(([name, value = ""]) => [code(name), Number(value.replaceAll(",", ""))]);
    expect(Object.fromEntries(told)).toEqual(wireLimits);
  });

  it("have every scope with what it includes", () => {
    const told = table("Security").map(([scope, includes = ""]) => [
      code(scope),
      [...includes.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    ]);
    const known = SCOPES.map((scope) => [
      scope,
      SCOPES.filter((other) => other !== scope && allows([scope], other)),
    ]);
    expect(told).toEqual(known);
  });

  it("have the kinds of all messages", () => {
    const told = table("Messages").map(([message = ""]) => /\["(\w+)"/.exec(message)?.[1]);
    expect(told).toEqual(
      ["hello", "call", "watch", "unwatch", "ping"].concat([
        "welcome",
        "refused",
        "answer",
        "failure",
        "wake",
        "pong",
        "bye",
      ]),
    );
  });

  it("name the version", () => {
    expect(document).toContain(`The version of the protocol is **${PROTOCOL}**.`);
    expect(document).toContain(
      `This server serves the versions ${SERVED.map((one) => `**${one}**`).join(" and ")},`,
    );
  });
});

describe("the transcripts", () => {
  const transcripts = [...document.matchAll(/^```transcript( tokens)?\n([\s\S]*?)^```$/gm)].map(
    ([, tokens, text = ""], index) => {
      const before = document.slice(0, document.indexOf(text));
      const title = [...before.matchAll(/^### (.*)$/gm)].at(-1)?.[1] ?? "";
      return {
        name: `${index + 1}: ${title}`,
        tokens: tokens !== undefined,
        lines: text.trimEnd().split("\n"),
      };
    },
  );

  it("are there", () => {
    expect(transcripts.length).toBeGreaterThanOrEqual(7);
    // Each method that most clients need is shown, in calls and in answers.
    const shown = new Set([...document.matchAll(/^> \["call", \d+, "(\w+)"/gm)].map(([, method]) => method));
    for (const method of [
      "enqueue",
      "claim",
      "settle",
      "exchange",
      "beat",
      "note",
      "get",
      "list",
      "count",
      "change",
      "writeSchedules",
    ]) {
      expect(shown).toContain(method);
    }
  });

  it("begin with the bytes that the document shows", () => {
    const hex = /^```hex\n([0-9a-f \n]+)```$/m.exec(document)?.[1] ?? "";
    const bytes = Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
    expect(unpackFrame(bytes)).toEqual([JSON.parse(transcripts[0]?.lines[0]?.slice(2) ?? "")]);
  });

  it.each(transcripts)("$name", async ({ lines, tokens }) => {
    await using stage = await serving(
      tokens ? { tokens: [{ token: "enqueue-only-0123456789", scopes: ["enqueue"] }] } : {},
    );
    await using client = await RawClient.connect(
      stage.server.url,
      tokens ? { headers: { authorization: "Bearer enqueue-only-0123456789" } } : {},
    );
    const ids = new Map<string, number>();
    const expected: unknown[] = [];
    let isEnded = false;
    const settle = async (): Promise<void> => {
      while (expected.length > 0) {
        const message = await client.next();
        const at = expected.findIndex((one) => fits(one, message, new Map(ids)));
        expect(
          at,
          `${JSON.stringify(message)} is none of ${JSON.stringify(expected)}`,
        ).toBeGreaterThanOrEqual(0);
        fits(expected.splice(at, 1)[0], message, ids);
      }
    };
    for (const line of lines) {
      const [sign, text] = [line.slice(0, 2), line.slice(2).trim()];
      if (sign !== "< ") await settle();
      if (sign === "< ") expected.push(JSON.parse(text));
      else if (sign === "> ") client.send(filled(JSON.parse(text), ids) as readonly unknown[]);
      else if (line === "-- the server is stopped") void stage.server.stop();
      else {
        const reason = /^-- the server ends the connection: (.*)$/.exec(line)?.[1];
        expect(reason, `The line "${line}"`).toBeDefined();
        expect((await client.closed).reason).toBe(reason);
        isEnded = true;
      }
    }
    await settle();
    if (!isEnded) {
      // Nothing comes that is not in the document.
      client.send(["ping", 1_000_000]);
      expect(await client.next()).toEqual(["pong", 1_000_000, expect.any(Number)]);
    }
    expect(client.unread).toEqual([]);
  });

  it("would be caught lying", () => {
    const ids = new Map([["1", 7]]);
    expect(fits(["answer", 1, "<id 1>"], ["answer", 1, 7], ids)).toBe(true);
    for (const other of [
      ["answer", 1, 8],
      ["answer", 2, 7],
      ["answer", 1],
      ["answer", 1, 7, 7],
      ["answer", 1, "7"],
    ]) {
      expect(fits(["answer", 1, "<id 1>"], other, ids)).toBe(false);
    }
    expect(fits({ a: 1 }, { a: 1, b: 2 }, ids)).toBe(false);
    expect(fits({ a: "<time>" }, { a: "soon" }, ids)).toBe(false);
    expect(fits(null, undefined, ids)).toBe(false);
  });
});

/** Whether a message is what the document says, its placeholders filled with what came. */
function fits(expected: unknown, actual: unknown, ids: Map<string, number>): boolean {
  if (expected === "<time>") return typeof actual === "number";
  const id = typeof expected === "string" ? /^<id (\w+)>$/.exec(expected)?.[1] : undefined;
  if (id !== undefined) {
    if (typeof actual !== "number") return false;
    if (!ids.has(id)) ids.set(id, actual);
    return ids.get(id) === actual;
  }
  if (typeof expected !== "object" || expected === null) return expected === actual;
  if (typeof actual !== "object" || actual === null || Array.isArray(expected) !== Array.isArray(actual))
    return false;
  const keys = Object.keys(expected);
  if (keys.length !== Object.keys(actual).length) return false;
  return keys.every(
    (key) =>
      Object.hasOwn(actual, key) &&
      fits((expected as Record<string, unknown>)[key], (actual as Record<string, unknown>)[key], ids),
  );
}

/** A message to send, its placeholders filled with what came before. */
function filled(value: unknown, ids: ReadonlyMap<string, number>): unknown {
  if (typeof value === "string") {
    const id = /^<id (\w+)>$/.exec(value)?.[1];
    if (id === undefined) return value;
    const known = ids.get(id);
    if (known === undefined) throw new Error(`The transcript uses "${value}" before it came.`);
    return known;
  }
  if (Array.isArray(value)) return value.map((one) => filled(one, ids));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one, ids)]));
}
