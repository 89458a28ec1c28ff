import { expect, it } from "vitest";

it("needs no PostgreSQL", () => {
  expect(1 + 1).toBe(2);
});
