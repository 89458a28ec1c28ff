import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineJob } from "./definition.ts";
import type { StandardSchema } from "./schema.ts";
import { validatePayload } from "./validation.ts";

const plain = defineJob({ name: "plain" });

describe("validatePayload", () => {
  const zod = defineJob({
    name: "zod",
    payload: z.object({
      at: z.string().transform((text) => new Date(text)),
      list: z.array(z.object({ n: z.number() })),
    }),
  });

  test("answers what the handler gets", () => {
    expect(validatePayload(zod, { at: "1970-01-01", list: [], extra: 1 })).toEqual({
      ok: true,
      payload: { at: new Date(0), list: [] },
    });
  });

  test("answers issues with their paths, keys and positions", () => {
    const answer = validatePayload(zod, { at: 5, list: [{ n: 1 }, { n: "2" }] });
    expect(answer).toMatchObject({ ok: false, issues: [{ path: ["at"] }, { path: ["list", 1, "n"] }] });
    expect(JSON.stringify(answer)).toContain("expected string");
  });

  test("understands path segments that are objects, and symbols", () => {
    const valibot = defineJob({ name: "valibot", payload: v.object({ a: v.array(v.number()) }) });
    expect(validatePayload(valibot, { a: [1, "2"] })).toMatchObject({
      ok: false,
      issues: [{ path: ["a", 1] }],
    });
    const symbols = defineJob({
      name: "s",
      payload: schemaOf(() => ({ issues: [{ message: "m", path: [Symbol("k")] }] })),
    });
    expect(validatePayload(symbols, 1)).toEqual({
      ok: false,
      issues: [{ message: "m", path: ["Symbol(k)"] }],
    });
  });

  test("waits for schemas that are asynchronous, and only for them", async () => {
    const slow = defineJob({
      name: "slow",
      payload: z.string().refine(async (text) => Promise.resolve(text !== "no")),
    });
    const answer = validatePayload(slow, "yes");
    expect(answer).toBeInstanceOf(Promise);
    expect(await answer).toEqual({ ok: true, payload: "yes" });
    expect(await validatePayload(slow, "no")).toMatchObject({ ok: false, issues: [{ path: [] }] });
    expect(validatePayload(zod, {})).not.toBeInstanceOf(Promise);
  });

  test("json<T>() checks nothing and copies nothing", () => {
    const payload = { any: new Date() };
    const answer = validatePayload(plain, payload);
    expect(answer).toEqual({ ok: true, payload });
    expect((answer as { payload: unknown }).payload).toBe(payload);
  });

  const failing: [string, () => unknown, string][] = [
    [
      "throws",
      () => {
        throw new TypeError("schema bug");
      },
      "The schema threw TypeError: schema bug",
    ],
    ["rejects", () => Promise.reject(new Error("no connection")), "The schema threw Error: no connection"],
    [
      "throws null",
      () => {
        // oxlint-disable-next-line no-throw-literal -- the worst a schema can do
        throw null;
      },
      "The schema threw Error: null was thrown.",
    ],
    ["answers nothing", () => undefined, "The schema threw TypeError"],
    ["answers a promise of nothing", () => Promise.resolve(undefined), "The schema threw TypeError"],
    ["refuses without a reason", () => ({ issues: [] }), "refused it without a reason"],
  ];
  test.each(failing)("a schema that %s is an issue", async (_what, validate, message) => {
    const definition = defineJob({ name: "x", payload: schemaOf(validate) });
    const answer = await validatePayload(definition, 1);
    expect(answer).toMatchObject({
      ok: false,
      issues: [{ path: [], message: expect.stringContaining(message) as string }],
    });
  });

  test("reports at most 100 issues, and how many more there are", async () => {
    const many = defineJob({ name: "many", payload: z.array(z.number()) });
    const answer = await validatePayload(
      many,
      Array.from({ length: 250 }, () => "x"),
    );
    if (answer.ok) throw new Error("250 wrong items were taken");
    expect(answer.issues).toHaveLength(101);
    expect(answer.issues.at(-1)).toEqual({ message: "… and 150 more issues.", path: [] });
  });
});

function schemaOf(validate: (value: unknown) => unknown): StandardSchema {
  return {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: validate as StandardSchema["~standard"]["validate"],
    },
  };
}
