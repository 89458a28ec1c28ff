// Goal: every engine keeps the storage contract, as `src/storage/storage.ts` words it.
// Method: one suite for all, which is also what authors of other engines run. What only one engine can
// do, or can get wrong (files, bounds, speed), is tested beside that engine.
import { describe, expect, it } from "vitest";
import { storageSuite } from "../src/testing/storage-suite/index.ts";
import { storageSuiteSize } from "../src/testing/storage-suite/suite.ts";
import { storages } from "./support/storages.ts";

for (const { label, create, cleanup } of storages) {
  storageSuite(label, create, { describe, it }, { cleanUp: cleanup });
}

describe("the suite itself", () => {
  it("is large enough to mean something", () => {
    expect(storageSuiteSize()).toBeGreaterThanOrEqual(130);
  });
});
