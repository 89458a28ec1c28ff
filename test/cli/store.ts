import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/connect.ts";
import type { Jobs } from "../../src/jobs.ts";
import { silentLogger } from "../../src/logger.ts";

/** A folder of a test, which ends with it. */
export interface Folder extends Disposable {
  readonly path: string;
  /** Of a store in it. */
  readonly url: string;
  /** Do something with the jobs of that store, as another process would. */
  use<T>(work: (jobs: Jobs) => Promise<T>): Promise<T>;
}

export function folder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "jobwright-cli-"));
  const url = `lmdb:${join(path, "jobs")}`;
  return {
    path,
    url,
    use: async (work) => {
      await using jobs = await connect(url, { logger: silentLogger });
      return await work(jobs);
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
