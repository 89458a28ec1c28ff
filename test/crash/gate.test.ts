import { openSync } from "node:fs";
import { join } from "node:path";
import { locks } from "../../src/storage/lmdb/locks.ts";
import { beforeAll, describe, expect, it } from "vitest";
import { lmdb } from "./places.ts";
import { buildChildren, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: whoever opens, writes or closes the store passes the gate. The bundled LMDB undoes commits beside an
// open; that happens too rarely to be relied on as a test of the gate itself.
// Method: the test holds the gate as any other process could, and lets go of it later. What the others say
// they did must come after that.

/** How long the gate is shut: enough for a process that does not care about it to pass. */
const SHUT_MS = 1_500;

beforeAll(buildChildren);

describe("while the gate is shut", { timeout: TIMEOUT_MS }, () => {
  it("nobody opens the store, writes to it, or closes it, and all goes on afterwards", async () => {
    await using scene = await Scene.on(lmdb);
    const first = scene.launch("writer", { seed: 1, paceMs: 1 });
    const idle = scene.launch("worker", {});
    await Promise.all([scene.ready(first), scene.ready(idle)]);
    await scene.until("it writes", () => scene.count("ack", first) > 0);

    const gate = openSync(join(scene.home, "store", "locks", "gate.lock"), "r+");
    await scene.until("the gate is ours", () => locks.tryLock(gate));
    // What was inside before is written down by now or soon.
    await pause(200);
    const acks = scene.count("ack", first);
    const second = scene.launch("writer", { seed: 2, paceMs: 1 });
    idle.send("end");
    scene.expectEnd(idle);
    await scene.until("the second one is about to open", () => second.tells("opening").length > 0);
    await pause(SHUT_MS);
    expect({
      acks: scene.count("ack", first) - acks,
      isOpen: second.tells("ready").length > 0,
      isClosed: idle.isOver,
    }).toEqual({ acks: 0, isOpen: false, isClosed: false });
    locks.unlock(gate);

    await scene.ready(second);
    expect((await scene.ended(idle)).code).toBe(0);
    await scene.until("it writes again", () => scene.count("ack", first) > acks);
    await Promise.all([scene.end(first), scene.end(second)]);
  });
});
