import { describe, expect, test } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { type AnyJobDefinition, defineJob } from "./definition.ts";
import type { LimitKey, UniqueKey } from "./key.ts";
import { keyRules, keysAsOptions, resolveKeys } from "./key-options.ts";
import { checkDefaults, type EnqueueOptions, fixedOptions, resolveOptions } from "./options.ts";
import { json } from "./schema.ts";

interface Order {
  readonly order: number;
  readonly tenant: string;
}
const none = checkDefaults({});
const plain = defineJob({ name: "plain" });
const byOrder = defineJob({
  name: "by-order",
  payload: json<Order>(),
  unique: { key: ({ order }) => order, for: "1h" },
  limit: { key: ({ tenant }) => tenant, concurrency: 2 },
});
const order: Order = { order: 7, tenant: "acme" };

function keysOf(
  definition: AnyJobDefinition,
  call?: EnqueueOptions,
  payload: unknown = order,
): { unique: UniqueKey | undefined; limit: LimitKey | undefined } {
  const { unique, limit } = resolveOptions(definition, payload, call, none, JSON.stringify(payload));
  return { unique, limit };
}
const uniqueOf = (unique: EnqueueOptions["unique"], payload?: unknown): UniqueKey | undefined =>
  keysOf(plain, unique === undefined ? {} : { unique }, payload).unique;
const limitOf = (call: EnqueueOptions): LimitKey | undefined => keysOf(plain, call).limit;

describe("unique", () => {
  const keep = { scope: "plain", while: "live", onConflict: "keep" } as const;

  test("a key alone is held by the job that lives, within its definition", () => {
    expect(uniqueOf("a")).toEqual({ ...keep, key: "a" });
    expect(uniqueOf({ key: 5 })).toEqual({ ...keep, key: "5" });
    expect(uniqueOf(undefined)).toBeUndefined();
    expect(uniqueOf(false)).toBeUndefined();
  });

  test("true makes the key of the payload, whatever the order of its keys", () => {
    const key = (payload: unknown): string | undefined => uniqueOf(true, payload)?.key;
    expect(key({ a: 1, b: [{ c: 2, d: null }] })).toBe(key({ b: [{ d: null, c: 2 }], a: 1 }));
    expect(uniqueOf({}, { a: 1 })?.key).toBe(key({ a: 1 }));
    const different = [
      { a: 1 },
      { a: "1" },
      { a: 2 },
      { a: [1] },
      [{ a: 1 }],
      { a: 1, b: null },
      1,
      "1",
      null,
    ];
    const keys = different.map(key);
    expect(new Set(keys).size).toBe(different.length);
    for (const one of keys) expect(one).toMatch(/^[\w-]{43}$/);
    // It is stored, so a new version must make the same: sha256 of {"a":"x","b":1}.
    expect(key({ b: 1, a: "x" })).toBe("zasGfp876zLRJSz9Y-SSWS_sv1kbDQjK2yS7F_OGQkY");
  });

  test("a time alone holds it without a job, a time and a job together", () => {
    const { while: _live, ...timed } = keep;
    expect(uniqueOf({ key: "a", for: "1h" })).toEqual({ ...timed, key: "a", while: null, forMs: 3_600_000 });
    expect(uniqueOf({ key: "a", for: Number.POSITIVE_INFINITY })).toMatchObject({ while: null, forMs: null });
    expect(uniqueOf({ key: "a", for: 5, while: "waiting" })).toMatchObject({ while: "waiting", forMs: 5 });
  });

  test("all the rest is taken over", () => {
    expect(
      uniqueOf({ key: "a", scope: "all", onConflict: "error", inherit: true, while: "waiting" }),
    ).toEqual({
      scope: "",
      key: "a",
      while: "waiting",
      onConflict: "error",
      inherit: true,
    });
    expect(uniqueOf({ key: "a", scope: "definition", inherit: false })).toEqual({ ...keep, key: "a" });
  });

  test("what a call does not say the definition says", () => {
    expect(keysOf(byOrder).unique).toEqual({
      scope: "by-order",
      key: "7",
      while: null,
      forMs: 3_600_000,
      onConflict: "keep",
    });
    expect(keysOf(byOrder, { unique: { onConflict: "replace" } }).unique).toMatchObject({
      key: "7",
      forMs: 3_600_000,
      onConflict: "replace",
    });
    expect(keysOf(byOrder, { unique: "b" }).unique).toMatchObject({ key: "b", forMs: 3_600_000 });
    expect(keysOf(byOrder, { unique: true }).unique?.key).toMatch(/^[\w-]{43}$/);
    expect(keysOf(byOrder, { unique: false }).unique).toBeUndefined();
    expect(keysOf(byOrder, { unique: false }).limit).toBeDefined();
  });

  test("not together with an id, whoever says it", () => {
    const message = 'id is "x". It is a key of its own kind.';
    expect(() => keysOf(plain, { id: "x", unique: true })).toThrow(message);
    expect(() => keysOf(byOrder, { id: "x" })).toThrow(message);
    expect(keysOf(byOrder, { id: "x", unique: false }).unique).toBeUndefined();
  });
});

describe("limit", () => {
  test("a number is for the whole definition", () => {
    const whole = { scope: "plain", key: "*", concurrency: 5 };
    expect(limitOf({ limit: 5 })).toEqual(whole);
    expect(limitOf({ limit: { concurrency: 5 } })).toEqual(whole);
    expect(limitOf({})).toBeUndefined();
    expect(limitOf({ limit: false })).toBeUndefined();
    expect(keysOf(defineJob({ name: "plain", limit: 5 })).limit).toEqual(whole);
  });

  test("a key, of the definition or of all", () => {
    expect(limitOf({ limit: { key: "a", concurrency: 1 } })).toEqual({
      scope: "plain",
      key: "a",
      concurrency: 1,
    });
    expect(limitOf({ limit: { key: "a", concurrency: 1, scope: "all" } })?.scope).toBe("");
    expect(keysOf(byOrder).limit).toEqual({ scope: "by-order", key: "acme", concurrency: 2 });
  });

  test("concurrencyKey is one at a time over all definitions", () => {
    expect(limitOf({ concurrencyKey: "a" })).toEqual({ scope: "", key: "a", concurrency: 1 });
    const byTenant = defineJob({
      name: "by-tenant",
      payload: json<Order>(),
      concurrencyKey: ({ tenant }) => tenant,
    });
    expect(keysOf(byTenant).limit).toEqual({ scope: "", key: "acme", concurrency: 1 });
    expect(keysOf(byTenant, { limit: { concurrency: 3 } }).limit).toEqual({
      scope: "",
      key: "acme",
      concurrency: 3,
    });
    expect(keysOf(byTenant, { limit: false }).limit).toBeUndefined();
  });

  test("what a call does not say the definition says", () => {
    expect(keysOf(byOrder, { limit: { concurrency: 9 } }).limit).toMatchObject({
      key: "acme",
      concurrency: 9,
    });
    expect(keysOf(byOrder, { limit: 9 }).limit).toMatchObject({ key: "*", concurrency: 9 });
    expect(keysOf(byOrder, { concurrencyKey: "a" }).limit).toEqual({ scope: "", key: "a", concurrency: 1 });
  });
});

const long = "k".repeat(201);
const bad: [string, Record<string, unknown>, string][] = [
  ["null for unique", { unique: null }, "unique is null. Use true, a key, or an object"],
  ["a number for unique", { unique: 5 }, "unique is 5. Use true, a key, or an object"],
  ["a list for unique", { unique: [] }, "unique is an array."],
  ["an empty key", { unique: "" }, 'unique is "".'],
  ["a long key", { unique: long }, "It has 201 characters; use at most 200, or a hash of what is longer."],
  ["a key with a line break", { unique: { key: "a\n" } }, 'unique.key is "a\\n".'],
  ["a key that is no text", { unique: { key: {} } }, "unique.key is an object."],
  ["NaN as a key", { unique: { key: Number.NaN } }, "unique.key is NaN."],
  ["another while", { unique: { while: "running" } }, 'unique.while is "running". Use "waiting" or "live".'],
  ["no time", { unique: { for: 0 } }, "unique.for is 0."],
  ["another scope", { unique: { scope: "queue" } }, 'unique.scope is "queue".'],
  ["another conflict", { unique: { onConflict: "skip" } }, 'unique.onConflict is "skip".'],
  ["a word for inherit", { unique: { inherit: "yes" } }, 'unique.inherit is "yes".'],
  ["a slip of the pen", { unique: { keys: "a" } }, 'unique.keys is "a". Use true, a key,'],
  ["nobody running", { limit: 0 }, "limit is 0. Use an integer from 1 to 1000."],
  ["half a slot", { limit: { concurrency: 1.5 } }, "limit.concurrency is 1.5."],
  ["too many slots", { limit: 1_001 }, "limit is 1001."],
  ["a limit without its number", { limit: { key: "a" } }, "limit.concurrency is undefined."],
  ["text for a limit", { limit: "a" }, 'limit is "a". Use a number, or an object'],
  ["true for a limit", { limit: true }, "limit is true."],
  ["a slip in a limit", { limit: { concurrency: 1, max: 2 } }, "limit.max is 2."],
  ["a long key of a limit", { limit: { key: long, concurrency: 1 } }, "It has 201 characters"],
  ["an empty concurrencyKey", { concurrencyKey: "" }, 'concurrencyKey is "".'],
  ["two limits", { concurrencyKey: "a", limit: 1 }, 'concurrencyKey is "a". It is short for limit:'],
];

describe.each(bad)("%s", (_what, options, message) => {
  test.each<[string, () => unknown]>([
    ["in a definition", () => defineJob({ name: "x", ...options })],
    ["at a call", () => keysOf(plain, options)],
  ])("is refused %s", (_where, make) => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(message);
  });
});

test("what a function answers is checked; at a call there are none, and defaults have no keys", () => {
  const wrong = defineJob({
    name: "bad",
    payload: json<{ key: string }>(),
    unique: { key: ({ key }) => key },
    limit: { key: ({ key }) => key, concurrency: 1 },
  });
  expect(() => keysOf(wrong, {}, { key: "" })).toThrow('unique.key, computed by "bad", is "".');
  expect(() => keysOf(wrong, { unique: false }, { key: long })).toThrow('limit.key, computed by "bad",');
  const key = (() => "a") as unknown as string;
  expect(() => keysOf(plain, { unique: { key } })).toThrow(
    "functions of the payload stand in the definition",
  );
  expect(() => keysOf(plain, { limit: { key, concurrency: 1 } })).toThrow("limit.key is a function.");
  expect(() => keysOf(plain, { concurrencyKey: key })).toThrow("concurrencyKey is a function.");
  expect(() => checkDefaults({ unique: true } as object)).toThrow(
    "unique is true. There is no such option here",
  );
});

test("a definition whose keys are the same for every job is asked once", () => {
  const fixed = defineJob({ name: "fixed", unique: "one", limit: 2 });
  const first = resolveOptions(fixed, 1, undefined, none, "1");
  expect(resolveOptions(fixed, 2, undefined, none, "2")).toBe(first);
  expect(first).toMatchObject({ unique: { key: "one" }, limit: { key: "*" } });
  // For triggers, who know no keys.
  expect(fixedOptions(fixed, none)).not.toHaveProperty("unique");
  expect(fixedOptions(fixed, none)).not.toHaveProperty("limit");
});

test("resolved keys can be said again as a call's", () => {
  const said: EnqueueOptions[] = [
    {},
    { unique: true, limit: 3 },
    { unique: { key: "a", while: "waiting", for: Number.POSITIVE_INFINITY, scope: "all", inherit: true } },
    { unique: { for: "1m", onConflict: "replace" }, concurrencyKey: "b" },
  ];
  for (const call of said) {
    const resolved = resolveKeys(keyRules(call, false), "plain", order, JSON.stringify(order));
    expect(resolveKeys(keyRules(keysAsOptions(resolved), false), "plain", undefined, "null")).toEqual(
      resolved,
    );
  }
});
