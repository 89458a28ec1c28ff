import { beforeAll, describe, expect, it } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { JobServer } from "../../src/server/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { built } from "../support/built.ts";
import { size } from "../support/size.ts";
import { until } from "../support/world.ts";
import { newJob } from "./support/job.ts";
import { otherMachines } from "./support/machines.ts";
import { Child } from "./support/process.ts";

// Goal: workers on other machines drain one server.
// Method: network name spaces of Linux, each with an address of its own. Where a user may not make them, the workers
// of crowd.test.ts on two addresses of one machine are what there is.

const TOKEN = "a-token-of-the-tests-0123456789";
const probe = await otherMachines(1);
await probe?.[Symbol.asyncDispose]();
beforeAll(built, 120_000);

describe("workers on two machines", () => {
  it.skipIf(probe === undefined)(
    "drain one server together (left out where no network name space can be made)",
    { timeout: 120_000 },
    async () => {
      await using stage = await otherMachines(2);
      const storage = new MemoryStorage();
      const server = new JobServer({
        storage,
        host: "0.0.0.0",
        port: 0,
        tokens: [TOKEN],
        logger: silentLogger,
      });
      await server.start();
      const workers = (stage?.machines ?? []).map(
        ({ name, host }) => new Child("work", `ws://:${TOKEN}@${host}:${server.port}`, name, name),
      );
      try {
        expect(workers).toHaveLength(2);
        await Promise.all(workers.map((worker) => worker.heard("works")));
        const jobs = size(500, 10_000);
        const numbers = Array.from({ length: jobs }, (_, index) => index);
        await storage.enqueue([numbers.map((index) => newJob({ payload: `${index}` }))]);
        await until(async () => (await storage.count({ state: "completed" })).n === jobs);
        await Promise.all(workers.map((worker) => worker.stop()));
        const ran = workers.map(({ told }) =>
          told.filter(({ what }) => what === "ran").map(({ payload }) => payload),
        );
        expect(
          ran
            .flat()
            .map(Number)
            .sort((a, b) => a - b),
        ).toEqual(numbers);
        for (const some of ran) expect(some.length).toBeGreaterThan(0);
        process.stderr.write(`two machines: ${ran.map(({ length }) => length).join(" + ")} jobs\n`);
      } finally {
        await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()));
        await server.stop();
        await storage.close();
      }
    },
  );
});
