import assert from "node:assert/strict";
import type { Case, Section } from "./section.ts";
import { only } from "./stage.ts";

/** Texts that have come out changed of one store or another. A storage never parses them. */
const TEXTS: readonly (readonly [string, string])[] = [
  ["the empty text", ""],
  ["a NUL character", '"a\u0000b"'],
  ["an escaped NUL", '"a\\u0000b"'],
  ["a lone high surrogate", '"\ud800"'],
  ["a lone low surrogate", '"\udc00x"'],
  ["surrogates in the wrong order", '"\udc00\ud800"'],
  ["emoji and combining characters", '"👩‍👩‍👧 e\u0301 ﷽"'],
  ["the last code points", '"\uffff\u{10ffff}\ufeff"'],
  ["line separators", '"\u2028\u2029\r\n"'],
  ["a key named __proto__", '{"__proto__":{"x":1},"constructor":null,"toString":2}'],
  ["keys that repeat and numbers as keys", '{"2":1,"1":2,"a":1,"a":2}'],
  ["numbers that lose digits when parsed", "[12345678901234567890,1e400,-0,1.10]"],
  ["spaces that JSON does not need", ' { "a" :\t1 }\n'],
  ["a text that is no JSON at all", "\\ ' \" $1 %s {{x}} \u0001"],
  ["1 MiB of text", `"${"x".repeat(1_048_574)}"`],
  ["1 MiB of text of two bytes a character", `"${"ä".repeat(524_287)}"`],
];

const cases: Case[] = TEXTS.map(([what, text]) => ({
  name: `carries ${what} as payload, checkpoint and result, unchanged`,
  async run(stage) {
    await stage.register();
    const id = await stage.enqueueOne({ payload: text });
    const claimed = await stage.claimOne();
    same(claimed.payload, text);
    same((await stage.get(id)).payload, text);
    // A checkpoint entry has a limit of its own, which the key counts for.
    const entry = text.slice(0, 500_000);
    assert.equal(await stage.storage.note(claimed, { checkpoint: { key: entry } }), "saved");
    await stage.end(claimed, { state: "available", marked: false });
    const again = await stage.claimOne();
    same(again.payload, text);
    same(again.checkpoint?.["key"], entry);
    await stage.end(again, { state: "completed", result: text });
    same((await stage.get(id)).result, text);
    const { jobs } = await stage.storage.list({ state: "completed", limit: 10 });
    same(only(jobs).payload, text);
  },
}));

/** As `equal`, without a megabyte in the message. */
function same(actual: string | undefined, expected: string): void {
  if (actual === expected) return;
  assert.equal(typeof actual, "string");
  const text = actual as string;
  let index = 0;
  while (index < text.length && text[index] === expected[index]) index++;
  assert.fail(
    `The text differs at ${index}: ${JSON.stringify(text.slice(index, index + 20))} for ` +
      `${JSON.stringify(expected.slice(index, index + 20))} (${text.length} and ${expected.length} characters)`,
  );
}

export const payloadsSection: Section = { title: "payloads", cases };
