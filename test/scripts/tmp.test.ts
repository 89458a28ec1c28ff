import { it } from "vitest";
import { connect, defineJob, json } from "../../src/index.ts";
import { engines } from "../support/storages.ts";
it("x", async () => {
  const a = defineJob({ name: "a", payload: json<number>() });
  const b = defineJob({ name: "b", payload: json<number>(), maxRetries: 1 });
  const storage = await engines[2]!.create();
  const jobs = await connect(storage);
  for (const options of [{ id: "given" }, { unique: "k" }, {}]) {
    const hs = await Promise.all([jobs.enqueue(a, 1, options), jobs.enqueue(b, 2)]);
    console.log(JSON.stringify(options), hs.map((h) => h.id), (await jobs.list({ state: "available" })).jobs.map((j) => j.id));
  }
  const many = await jobs.enqueueMany([{ definition: a, payload: 1, options: { id: "given2" } }, { definition: b, payload: 1 }]);
  console.log(many.map((h) => h.id), (await jobs.list({ state: "available" })).jobs.map((j) => j.id));
  await jobs.close();
});
