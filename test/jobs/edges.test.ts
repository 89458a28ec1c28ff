// Goal: what makes no sense is refused by a typed error at the edge, whoever hands it in.
import { describe, expect, it } from "vitest";
import { connect, defineJob, implement, InvalidOptionError, json } from "../../src/index.ts";
import { silentLogger } from "../../src/logger.ts";

const noop = defineJob({ name: "noop", payload: json<number>() });

describe("nothing where something is needed", () => {
  it.each([undefined, null, 7, "x"])("%s as a definition", (value) => {
    expect(() => defineJob(value as never)).toThrow(InvalidOptionError);
    expect(() => implement(value as never, () => 1)).toThrow(InvalidOptionError);
  });

  it.each([null, 0, "x"])("%s as options", async (value) => {
    await expect(connect("memory:", value as never)).rejects.toThrow(InvalidOptionError);
    await using jobs = await connect("memory:", { logger: silentLogger });
    await expect(jobs.enqueueMany(noop, [1], value as never)).rejects.toThrow(InvalidOptionError);
    expect(() => jobs.worker([implement(noop, () => 1)], value as never)).toThrow(InvalidOptionError);
    expect((await jobs.count()).n).toBe(0);
  });

  it("no signal as a signal, and no reason as a reason", async () => {
    await using jobs = await connect("memory:", { logger: silentLogger });
    const handle = await jobs.enqueue(noop, 1);
    await expect(handle.result({ timeout: "1h", signal: "x" as never })).rejects.toThrow(InvalidOptionError);
    expect(await handle.cancel(Object.create(null) as never)).toBe("cancelled");
    expect((await handle.get())?.reason).toBe("an object");
    const worker = jobs.worker([implement(noop, () => 1)]);
    await expect(worker.stop(null as never)).resolves.toBeUndefined();
  });
});

describe("a URL", () => {
  it.each(["memory:name", "lmdb:~/jobs", "lmdb:file:///jobs", "lmdb:", "redis://h", "jobs", ""])(
    "%s is refused with a remedy",
    async (url) => {
      await expect(connect(url)).rejects.toThrow(/(?:Use|Name a folder)/);
    },
  );

  it("is never quoted behind its scheme, where a password may stand", async () => {
    for (const url of ["redis://u:s3cret@h", "redis://:p@s3cret@h", "postgres:u:s3cret@h"]) {
      const error = await connect(url).catch((thrown: unknown) => thrown as Error);
      expect((error as Error).message).not.toContain("s3cret");
    }
  });
});
