import { expect, it } from "vitest";
import { postgres } from "../server.ts";
import { report } from "./report.ts";

it("uses the shared server from another process", async () => {
  const { url } = await postgres();
  report({ shared: url });
  expect(url).toMatch(/^postgres(ql)?:/);
});
