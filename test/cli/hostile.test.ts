import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defineJob } from "../../src/job/definition.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { run } from "./fake-terminal.ts";
import { type Folder, folder } from "./store.ts";

// Goal: nothing that a job holds can steer the terminal it is shown on, forge a line of a table, or break the
// JSON that a program reads.
// Method: texts that try, as names where names may be so, as tags, payloads, errors and reasons everywhere.

const ESC = "\u001b";
const HOSTILE = [
  `${ESC}[31mred`,
  `${ESC}[2J${ESC}[H`,
  `${ESC}]0;title\u0007`,
  `${ESC}]8;;http://example.com${ESC}\\link${ESC}]8;;${ESC}\\`,
  `${ESC}P1$r${ESC}\\`,
  "\u009b31mred in one",
  "\u009d0;title\u009c",
  "first\nsecond",
  "first\r\nsecond",
  "over\rwritten",
  "rub\b\b\bout",
  "NUL\u0000inside",
  "bell\u0007",
  "delete\u007f",
  "tab\tbed",
  "vertical\u000b\u000cfeeds",
  "line\u2028separated\u2029twice",
  "\u202egnp.exe",
  "\u2066isolated\u2069",
  "\u200e\u200fmarks\u061c",
  "zero\u200bwidth\u200d\u2060\ufeff",
  "lone \ud800 half",
  "half \udc00 lone",
  "tags \u{e0041}\u{e007f}",
  '<script>alert("x")</script>',
  "${process.exit(1)} {{7*7}} <%= 7 %>",
  '","state":"completed","x":"',
  "__proto__",
  "| --- | `cell` |",
  "日本語の名前 한국어 👩‍👩‍👧 é",
  "combi\u0301\u0302\u0303\u0304ned",
  "%s %n $(reboot) `reboot` ; rm -rf",
  "\\u001b[31m not an escape",
];

/** Names, tags and given ids may hold no control characters, and no halves of characters. */
const isName = (text: string): boolean => !/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(text);
/** Whatever a terminal might act on, but the end of a line; and what is half a character. */
const ACTIVE =
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\u{e0000}-\u{e007f}]/u;

let place: Folder;
const ids: string[] = [];

beforeAll(async () => {
  place = folder();
  await place.use(async (jobs) => {
    const definitions = HOSTILE.map((text, index) =>
      defineJob({
        name: isName(text) ? text : `job-${index}`,
        maxRetries: 0,
        run: () => {
          throw Object.assign(new Error(text), { name: text });
        },
      }),
    );
    for (const [index, definition] of definitions.entries()) {
      const text = HOSTILE[index] as string;
      const payload = { [text.toWellFormed()]: text.toWellFormed() };
      const options = isName(text) ? { queue: text, tags: [text], id: text } : {};
      ids.push((await jobs.enqueue(definition, payload, options)).id);
    }
    await runUntilIdle(jobs.worker(definitions, { queues: "*" }));
  });
});
afterAll(() => place[Symbol.dispose]());

interface JobJson {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly tags: string[];
  readonly givenId: string | null;
  readonly payload: unknown;
  readonly error: { readonly name: string; readonly message: string };
}

function url(): string[] {
  return ["--url", place.url];
}

describe("hostile texts", () => {
  it("are many, and all of them were taken", async () => {
    expect(await place.use((jobs) => jobs.count({ state: "dead" }))).toEqual({
      n: HOSTILE.length,
      exact: true,
    });
    expect(HOSTILE.length).toBeGreaterThanOrEqual(30);
    expect(HOSTILE.filter((text) => ACTIVE.test(text)).length).toBeGreaterThan(20);
  });

  it.each([undefined, 120, 80, 50])("are one line each in a table, at a width of %s", async (columns) => {
    const { code, out } = await run(["jobs", "list", ...url()], columns === undefined ? {} : { columns });
    expect(code).toBe(0);
    expect(out).not.toMatch(ACTIVE);
    const lines = out.split("\n");
    expect(lines).toHaveLength(HOSTILE.length + 2);
    expect(
      lines
        .slice(1, -1)
        .map((line) => line.split(" ", 1)[0])
        .toSorted(),
    ).toEqual(ids.toSorted());
    // Accents stand above letters and take no place.
    const longest = Math.max(...lines.map((line) => line.replaceAll(/\p{M}/gu, "").length));
    expect(longest).toBeLessThanOrEqual(columns ?? Number.POSITIVE_INFINITY);
  });

  it("show no more than they say", async () => {
    for (const [index, id] of ids.entries()) {
      const { code, out } = await run(["jobs", "show", id, ...url()]);
      expect(code).toBe(0);
      expect(out).not.toMatch(ACTIVE);
      // A text that brought its own lines would add some.
      expect(
        out.split("\n").filter((line) => /^(?:state|payload|error) {2}/.test(line)),
        HOSTILE[index],
      ).toHaveLength(3);
    }
  });

  it("come back from JSON as they were", async () => {
    const { out } = await run(["jobs", "list", "--json", ...url()]);
    expect(out).not.toMatch(ACTIVE);
    expect(out).toMatch(/^[^\n]+\n$/);
    const byId = new Map((JSON.parse(out) as { jobs: JobJson[] }).jobs.map((job) => [job.id, job]));
    const stored = await place.use((jobs) => Promise.all(ids.map((id) => jobs.get(id))));
    for (const [index, text] of HOSTILE.entries()) {
      const job = byId.get(ids[index] as string);
      const shown = await run(["jobs", "show", ids[index] as string, "--json", ...url()]);
      expect(shown.out).not.toMatch(ACTIVE);
      expect(JSON.parse(shown.out)).toMatchObject(job as object);
      expect(job).toMatchObject({
        name: isName(text) ? text : `job-${index}`,
        ...(isName(text) ? { queue: text, tags: [text], givenId: text } : {}),
        payload: { [text.toWellFormed()]: text.toWellFormed() },
        error: { name: stored[index]?.error?.name, message: stored[index]?.error?.message },
      });
    }
  });

  it("are found by what they are", async () => {
    for (const text of HOSTILE.filter(isName)) {
      const { out } = await run([
        "jobs",
        "list",
        "--json",
        "--name",
        text,
        "--queue",
        text,
        "--tag",
        text,
        ...url(),
      ]);
      expect((JSON.parse(out) as { jobs: JobJson[] }).jobs.map(({ name }) => name)).toEqual([text]);
    }
  });

  it("steer nothing in other answers", async () => {
    for (const args of [
      ["queues", "list"],
      ["queues", "list", "--json"],
      ["stats"],
      ["processes"],
      ...HOSTILE.filter(isName).map((text) => ["queues", "pause", text]),
      ["queues", "list"],
    ]) {
      const { code, out, error } = await run([...args, ...url()]);
      expect(code, args.join(" ")).toBe(0);
      expect(out + error).not.toMatch(ACTIVE);
    }
  });

  it.each(HOSTILE)("are one line of error: %j", async (text) => {
    for (const args of [
      ["jobs", "show", text],
      ["jobs", "list", "--state", text],
      ["jobs", "list", `--${text}`],
      ["jobs", "list", text],
      ["jobs", text],
      [text],
      ["enqueue", "a", "--payload", text],
      ["enqueue", "a", "--in", text],
      ["jobs", "list", "--config", text],
    ]) {
      const { code, out, error } = await run([...args, ...url()]);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(error).toMatch(/^[^\n]+\n$/);
      expect(error).not.toMatch(ACTIVE);
    }
  });
});
