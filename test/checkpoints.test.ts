// Goal (row C11): checkpoints stand in a place of their own. What jobs have saved is read and moved when such a job is
// given out, and by nothing else that is done to jobs.
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Storage } from "../src/storage/storage.ts";
import { LmdbStorage } from "../src/storage/lmdb/index.ts";
import { Table } from "../src/storage/lmdb/table.ts";
import { PostgresStorage } from "../src/storage/postgres/index.ts";
import { temporaryFolder } from "./support/folders.ts";
import { giveBackSchemas, takeSchema } from "./support/postgres/schemas.ts";

const SAVED = "needle in a haystack";

const folders = temporaryFolder();
let storage: Storage;
afterEach(async () => {
  vi.restoreAllMocks();
  await storage.close();
  await giveBackSchemas();
  folders.remove();
});

/** A job that has saved something and waits again, behind one that has not. */
async function stage(): Promise<void> {
  await storage.open();
  const job = {
    ...{ queue: "q", payload: "1", maxRetries: 0, priority: 0, tags: [], timeoutMs: null },
    backoff: { kind: "fixed", delayMs: 1 } as const,
    retention: { completedMs: null, cancelledMs: null, deadMs: null },
  };
  await storage.beat({
    ...{ id: "p", host: "h", pid: 1, lostAfterMs: 60_000, queues: [], holds: [], starts: [], first: true },
  });
  await storage.enqueue([[{ ...job, name: "saves" }]]);
  const [saved] = (await claim("saves")).jobs;
  if (saved === undefined) throw new Error("no job was given");
  const { id, generation, token } = saved;
  const lease = { id, generation, token };
  expect(await storage.note(lease, { checkpoint: { at: JSON.stringify(SAVED) } })).toBe("saved");
  await storage.settle([{ lease, outcome: { state: "available", marked: false }, startedAt: 1 }]);
  await storage.enqueue([[{ ...job, name: "plain", priority: -1 }]]);
}

let claims = 0;
function claim(name: string): ReturnType<Storage["claim"]> {
  return storage.claim({
    ...{ processId: "p", token: `token ${++claims}` },
    starts: [],
    queues: [{ queue: "q", names: [name], room: 1, readAhead: 0 }],
  });
}

describe("C11: what jobs have saved", () => {
  it("on lmdb is read with the job that saved it, and with no other", async () => {
    storage = new LmdbStorage({ path: folders.make() });
    await stage();
    let reads = 0;
    const rows = Table.prototype.rows;
    vi.spyOn(Table.prototype, "rows").mockImplementation(function (this: Table, ...range) {
      const found = [...rows.apply(this, range)];
      if (found.some(({ value }) => String(value).includes(SAVED))) reads += 1;
      return found;
    });
    expect((await claim("plain")).jobs).toHaveLength(1);
    await storage.list({ state: "available", limit: 10 });
    expect(reads).toBe(0);
    expect((await claim("saves")).jobs).toMatchObject([{ checkpoint: { at: JSON.stringify(SAVED) } }]);
    expect(reads).toBe(1);
  });

  it("on postgres is in no table that claims, settles or listings read", async () => {
    const { pool, schema } = await takeSchema();
    storage = new PostgresStorage({ pool, schema });
    await stage();
    const { rows: tables } = await pool.query<{ relname: string }>(
      "select relname from pg_class where relnamespace = $1::regnamespace and relkind in ('r', 'p')",
      [schema],
    );
    const holding: string[] = [];
    for (const { relname } of tables) {
      const found = await pool.query(
        `select 1 from "${schema}"."${relname}" as t where t::text like $1 limit 1`,
        [`%${SAVED}%`],
      );
      if (found.rowCount === 1) holding.push(relname);
    }
    expect(holding).toEqual(["checkpoint"]);
    expect((await claim("saves")).jobs).toMatchObject([{ checkpoint: { at: JSON.stringify(SAVED) } }]);
  });
});
