import { expect, test } from "vitest";
import { z } from "zod";
import { fixed } from "./backoff.ts";
import { defineJob, implement } from "./definition.ts";
import { json } from "./schema.ts";

test("a definition holds what it was given, frozen", () => {
  const schema = z.object({ file: z.string() });
  const run = (): number => 1;
  const definition = defineJob({
    name: "resize",
    payload: schema,
    queue: "images",
    backoff: fixed("1s"),
    run,
  });
  expect(definition).toEqual({
    name: "resize",
    schema,
    options: { queue: "images", backoff: fixed("1s") },
    run,
  });
  expect(Object.isFrozen(definition)).toBe(true);
});

test("without a handler it has none, also no undefined one", () => {
  expect("run" in defineJob({ name: "resize" })).toBe(false);
  expect("run" in defineJob({ name: "resize", ...({ run: undefined } as object) })).toBe(false);
});

test("without a schema any payload passes", () => {
  const { schema } = defineJob({ name: "any" });
  expect(schema["~standard"].validate({ a: [1] })).toEqual({ value: { a: [1] } });
});

test("implement binds a handler to a copy", () => {
  const contract = defineJob({ name: "resize", payload: json<{ n: number }>(), priority: 3 });
  const run = ({ n }: { n: number }): number => n + 1;
  const bound = implement(contract, run);
  expect(bound).toEqual({ ...contract, run });
  expect(bound.schema).toBe(contract.schema);
  expect(contract.run).toBeUndefined();
  expect(Object.isFrozen(bound)).toBe(true);
});

test("names known only at run time register like others", () => {
  const definitions = ["a", "b", "c"].map((name) => defineJob({ name: `import-${name}`, run: () => name }));
  expect(definitions.map(({ name }) => name)).toEqual(["import-a", "import-b", "import-c"]);
});
