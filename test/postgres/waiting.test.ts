// Goal: a worker with free slots hears of work that another process enqueues, whatever else it does meanwhile.
// Method: two storages in one schema, as two processes have them, and polls too rare to be of help.
import { afterEach, describe, expect, it } from "vitest";
import { connect, defineJob } from "../../src/index.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import { faulty } from "../support/faulty-storage.ts";
import { giveBackSchemas, takeSchema } from "../support/postgres/schemas.ts";
import { gate, until } from "../support/world.ts";

describe("a worker that waits for work", () => {
  afterEach(giveBackSchemas);

  // Guards: the question after its runs, once a second, took the process off the list of those that are told.
  it("is told of it while it asks after the jobs that it runs", async () => {
    const place = await takeSchema();
    const faults = faulty(new PostgresStorage(place));
    await using here = await connect(faults.storage);
    await using there = await connect(new PostgresStorage(place));
    const leave = gate();
    const slow = defineJob({ name: "slow", run: () => leave.promise });
    const quick = defineJob({ name: "quick", run: () => "done" });
    const worker = here.worker([slow, quick], { pollInterval: "1m" });
    await worker.start();
    await there.enqueue(slow);
    await until(() => worker.running === 1);
    // Its other slots are free.
    for (let n = 0; n < 2; n += 1) {
      // The second to begin shows that the first was answered.
      await faults.called("claim", (faults.calls.get("claim") ?? 0) + 2);
      const handle = await there.enqueue(quick);
      // A poll comes after three quarters of its interval at the earliest.
      expect(await handle.result({ timeout: "30s" })).toBe("done");
    }
    leave.open();
    await worker.stop();
  });
});
