// The floor: what the bare `lmdb` package does with the same keys and the same transaction size as jobwright's
// engine writes for the same work, records and payloads turned into JSON and back as anybody must. No rules, no checks, no
// fence, no lanes, no counters, no batch ids, no handlers, one process, no gate.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";

/** What a finished job needs to say of its end, and a lease of its holder. */
const head = (id) => [2, 0, 0, 1, 1_700_000_000_000, 0, 0, 0, 0, id, 0, 0, 1, RUN];
const RUN = { settledBy: "0123456789abcdef.12", startedAt: 1_700_000_000_000, endedAt: 1_700_000_000_001 };
const LEASE = ["0123456789abcdef.12", "0123456789abcdef", 0, 1_700_000_000_000, 0, 0, 1, 0];

export function openFloor() {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-floor-"));
  const options = {
    encoding: "binary",
    keyEncoding: "binary",
    mapSize: 2 ** 36,
    overlappingSync: false,
    maxDbs: 20,
  };
  const durable = open({ ...options, path: join(folder, "store") });
  const volatile = open({ ...options, path: join(folder, "volatile"), noSync: true });
  const db = (env, name) => env.openDB({ name, encoding: "binary", keyEncoding: "binary" });
  return {
    durable,
    volatile,
    job: db(durable, "job"),
    ready: db(durable, "ready"),
    head: db(durable, "head"),
    ended: db(durable, "ended"),
    expiry: db(durable, "expiry"),
    lease: db(volatile, "lease"),
    async close() {
      await durable.close();
      await volatile.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Enqueue: one record and one ready key a job, synced. */
export function storeJobs(floor, from, n, payload) {
  floor.durable.transactionSync(() => {
    for (let id = from; id < from + n; id += 1) {
      floor.job.putSync(
        idKey(id),
        Buffer.from(`[1,1,1700000000000,1700000000000,0]\n${JSON.stringify(payload)}`),
      );
      floor.ready.putSync(readyKey(id), EMPTY);
    }
  });
}

/** Claim: read ready keys and records, one lease a job, not synced. */
export function claimJobs(floor, from, n) {
  floor.volatile.transactionSync(() => {
    for (const key of floor.ready.getKeys({ start: readyKey(from), limit: n })) {
      const id = Number(key.readBigUInt64BE(6));
      const record = floor.job.getBinary(idKey(id)).toString();
      JSON.parse(record.slice(record.indexOf("\n") + 1));
      floor.lease.putSync(idKey(id), Buffer.from(JSON.stringify(LEASE)));
    }
  });
}

/** Settle with history: ready key out, head in, one row for the ends of the batch and one for its expiry, synced; then the leases out. */
export function settleJobs(floor, from, n) {
  floor.durable.transactionSync(() => {
    for (let id = from; id < from + n; id += 1) {
      floor.ready.removeSync(readyKey(id));
      floor.head.putSync(idKey(id), Buffer.from(JSON.stringify(head(id))));
    }
    floor.ended.putSync(twoKey(from), Buffer.alloc(8 * n));
    floor.expiry.putSync(twoKey(from), EMPTY);
  });
  floor.volatile.transactionSync(() => {
    for (let id = from; id < from + n; id += 1) floor.lease.removeSync(idKey(id));
  });
}

const EMPTY = Buffer.alloc(0);

function idKey(id) {
  const key = Buffer.allocUnsafe(8);
  key.writeBigUInt64BE(BigInt(id));
  return key;
}

function readyKey(id) {
  const key = Buffer.allocUnsafe(14);
  key.writeUInt32BE(1, 0);
  key.writeUInt16BE(1_000, 4);
  key.writeBigUInt64BE(BigInt(id), 6);
  return key;
}

function twoKey(id) {
  const key = Buffer.allocUnsafe(17);
  key[0] = 1;
  key.writeBigUInt64BE(1_700_000_000_000n, 1);
  key.writeBigUInt64BE(BigInt(id), 9);
  return key;
}
