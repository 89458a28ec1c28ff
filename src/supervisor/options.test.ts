import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { MemoryStorage } from "../storage/memory/index.ts";
import { planSupervisor, type SupervisorOptions } from "./options.ts";

const here = fileURLToPath(import.meta.url);
const storage = new MemoryStorage();
const url = "lmdb:./jobs";

describe("planSupervisor", () => {
  it("fills in defaults", () => {
    const plan = planSupervisor({ modules: here, url });
    expect(plan).toMatchObject({
      kind: "process",
      modules: [pathToFileURL(here).href],
      target: url,
      connect: {},
      worker: {},
      lostAfterMs: 25_000,
      shutdownTimeoutMs: 25_000,
      restart: { firstMs: 200, maxMs: 30_000 },
      blockedAfterMs: 10_000,
    });
    expect(plan.children).toBeGreaterThanOrEqual(1);
  });

  it("takes what it is given", () => {
    const plan = planSupervisor({
      modules: [here, pathToFileURL(here)],
      storage,
      threads: 3,
      connect: { lostAfter: "1m", defaults: { maxRetries: Number.POSITIVE_INFINITY } },
      worker: { queues: ["a"], shutdownTimeout: "5s" },
      restart: { first: "1s", max: "2s" },
    });
    expect(plan).toMatchObject({ kind: "thread", children: 3, target: storage, lostAfterMs: 60_000 });
    expect(plan).toMatchObject({ shutdownTimeoutMs: 5_000, restart: { firstMs: 1_000, maxMs: 2_000 } });
    expect(plan.modules).toHaveLength(1);
  });

  it.each<[string, object]>([
    ["no modules", { modules: [] }],
    ["a module that is missing", { modules: "./no-such-file.js" }],
    ["an unknown option", { process: 2 }],
    ["no process", { processes: 0 }],
    ["too many threads", { threads: 257 }],
    ["half a process", { processes: 1.5 }],
    ["processes and threads", { processes: 1, threads: 1 }],
    ["neither URL nor storage", { url: undefined }],
    ["URL and storage", { storage, threads: 1 }],
    ["a storage of this process for others", { url: undefined, storage, processes: 2 }],
    ["a storage for each process", { url: "memory:", processes: 2 }],
    ["no storage", { url: undefined, storage: {}, threads: 1 }],
    ["a state that cannot be handed on", { worker: { state: () => 1 } }],
    ["a worker option that is none", { worker: { concurency: 2 } }],
    ["a worker option out of range", { worker: { concurrency: 0 } }],
    ["a connect option that stays here", { connect: { clock: storage.clock } }],
    ["bad defaults", { connect: { defaults: { priority: 1e9 } } }],
    ["a bad duration", { connect: { lostAfter: "soon" } }],
    ["a restart option that is none", { restart: { fist: 1 } }],
    ["a longest wait below the first", { restart: { first: "2s", max: "1s" } }],
    ["a bad logger", { logger: {} }],
  ])("refuses %s", (_what, options) => {
    const given = { modules: here, url, ...options } as SupervisorOptions;
    expect(() => planSupervisor(given)).toThrow(InvalidOptionError);
  });
});
