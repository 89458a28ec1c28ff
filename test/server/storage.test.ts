// Goal: a storage behind a job server keeps the contract like the one it stands on: the same suite, the same
// cases and the same errors, so that a `catch` cannot tell near from far.
// What crosses the wire does not depend on the engine. So the short run has all cases over the engine that costs least,
// and every eighth over the others; the long run has all of all.
import { describe, it } from "vitest";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { remoteStorages } from "../support/remote.ts";
import { isLong } from "../support/size.ts";
import { everyEighth } from "./support/every-fourth.ts";

for (const { label, create, cleanup } of remoteStorages) {
  const isWhole = isLong || label.endsWith("memory");
  storageSuite(label, create, isWhole ? { describe, it } : everyEighth({ describe, it }), {
    cleanUp: cleanup,
  });
}
