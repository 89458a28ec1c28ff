// Guards: a cancel that was answered "asked" counts, also when the run fails before its worker hears of it.
import { describe, expect, it } from "vitest";
import { defineJob, fixed } from "../../src/index.ts";
import { storages } from "../support/storages.ts";
import { gate, until, world } from "../support/world.ts";

describe.each(storages)("a cancel and a failure at once on $label", (kind) => {
  it("keeps the cancel that was asked just before the run failed", async () => {
    await using here = await world(kind);
    here.faults.loseHints();
    const leave = gate();
    let runs = 0;
    const fails = defineJob({
      name: "fails",
      backoff: fixed("1s"),
      run: async () => {
        runs += 1;
        await leave.promise;
        throw new Error("no");
      },
    });
    const handle = await here.jobs.enqueue(fails, 0);
    const worker = here.jobs.worker([fails], { pollInterval: 10 });
    await worker.start();
    await until(() => runs === 1);
    expect(await handle.cancel("please")).toBe("asked");
    leave.open();
    await until(async () => (await handle.get())?.state !== "running");
    expect(await handle.get()).toMatchObject({ state: "cancelled", reason: "please" });
  });
});
