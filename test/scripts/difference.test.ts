import { expect, it } from "vitest";
import { engines, type StorageKind } from "../support/storages.ts";
import { differenceIn, parting, shorter } from "./difference.ts";
import { replay } from "./replay.ts";
import { makeScript, type Script } from "./script.ts";

// Goal: a storage that answers otherwise is found out, and told by the few calls that it takes.

const [memory] = engines as [StorageKind];

it("a script is shortened to the calls that it takes to fail", async () => {
  const script = makeScript(1, 40);
  const needed = [script[3]?.step, script[30]?.step];
  const fails = async (some: Script): Promise<boolean> =>
    needed.every((step) => some.some((call) => call.step === step));
  expect((await shorter(script, fails)).map(({ step }) => step)).toEqual(needed);
});

it("a storage that lists in another order is found out, and its script can be pasted", async () => {
  const backwards: StorageKind = {
    ...memory,
    label: "backwards",
    create: async (options) => {
      const storage = await memory.create(options);
      const list = storage.list.bind(storage);
      storage.list = async (query) => {
        const page = await list(query);
        return { ...page, jobs: page.jobs.toReversed() };
      };
      return storage;
    },
  };
  const script: Script = [
    { step: 1, kind: "enqueueMany", code: "jobs.enqueueMany(plain, [{ n: 1 }, { n: 2 }])" },
    { step: 2, kind: "count", code: "jobs.count()" },
    { step: 3, kind: "list", code: 'pages((after) => jobs.list({ state: "available", after }))' },
    { step: 4, kind: "stats", code: "jobs.stats()" },
  ];
  const told = await differenceIn(script, memory, backwards, await replay(memory, script));
  expect(told).toContain("Call 3 is answered by memory:");
  expect(told).not.toContain("jobs.count()");
  const pasted = [...(told ?? "").matchAll(/^ {4}\[(\d+), (".*")\],$/gm)].map(
    ([, step, code]) => [Number(step), JSON.parse(code as string) as string] as const,
  );
  expect(pasted.map(([step]) => step)).toEqual([1, 3]);
  await expect(parting("memory", "memory", pasted)).resolves.toBeUndefined();
});

it("a script is the same for its seed, and another one for another", () => {
  expect(makeScript(7, 80)).toEqual(makeScript(7, 80));
  expect(makeScript(7, 80)).not.toEqual(makeScript(8, 80));
  expect(makeScript(7, 80).filter(({ kind }) => kind !== "lastLook")).toHaveLength(80);
});
