// Goal: ZeroMQ carries the storage contract as the WebSocket does: the same suite, the same cases, the same errors.
import { describe, it } from "vitest";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { zmqStorages } from "./zmq-stage.ts";

for (const { label, create, cleanup } of zmqStorages) {
  storageSuite(label, create, { describe, it }, { cleanUp: cleanup });
}
