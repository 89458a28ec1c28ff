import { expect, it } from "vitest";
import { postgres, startServer } from "../server.ts";
import { report } from "./report.ts";

it("uses the shared server", async () => {
  const { url, query, createDatabase } = await postgres();
  const [row] = await query("select version() as version");
  report({ shared: url, version: String(row?.["version"]), database: await createDatabase() });
  expect(url).toMatch(/^postgres(ql)?:/);
});

it("leaves a private server behind", async () => {
  if (process.env["TEST_DATABASE_URL"]) return report({});
  const server = await startServer();
  report({ postmaster: server.pid ?? 0 });
  expect(await server.query("select 1 as one")).toEqual([{ one: 1 }]);
});

it("waits for ever when told so", async () => {
  report({ ready: true });
  if (process.env["NESTED_WAIT"]) await new Promise(() => undefined);
  expect(1).toBe(1);
});
