// Goal: a storage behind a job server keeps the contract like the one it stands on: the same suite, the same
// cases and the same errors, so that a `catch` cannot tell near from far.
// What crosses the wire does not depend on the engine, so the short run has the engine that costs least and the one
// that answers latest; the long run has them all.
import { describe, it } from "vitest";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { remoteStorages } from "../support/remote.ts";
import { isLong } from "../support/size.ts";

for (const { label, create, cleanup } of remoteStorages) {
  if (!isLong && label.endsWith("lmdb")) continue;
  storageSuite(label, create, { describe, it }, { cleanUp: cleanup });
}
