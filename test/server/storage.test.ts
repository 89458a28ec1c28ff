// Goal: a storage behind a job server keeps the contract like the one it stands on: the same suite, the same
// cases and the same errors, so that a `catch` cannot tell near from far.
import { describe, it } from "vitest";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { remoteStorages } from "../support/remote.ts";

for (const { label, create, cleanup } of remoteStorages) {
  storageSuite(label, create, { describe, it }, { cleanUp: cleanup });
}
