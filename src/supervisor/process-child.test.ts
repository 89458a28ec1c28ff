import { expect, it } from "vitest";
import { childArguments } from "./process-child.ts";

it.each<[readonly string[], readonly string[]]>([
  [[], []],
  [
    ["--import", "tsx", "--max-old-space-size=512"],
    ["--import", "tsx", "--max-old-space-size=512"],
  ],
  [["--inspect=9229", "--inspect-brk", "--enable-source-maps"], ["--enable-source-maps"]],
  [["--input-type=module", "-e", "run()", "--conditions=x"], ["--conditions=x"]],
  [["--eval=run()", "--watch", "--watch-path=src", "--test"], []],
  [["-p", "1 + 1"], []],
])("of %j a child gets %j", (own, expected) => {
  expect(childArguments(own)).toEqual(expected);
});
