import { describe, expect, test } from "vitest";
import { InvalidValueError } from "../../src/errors.ts";
import { limits } from "../../src/job/limits.ts";
import { ERROR, failed, newJob, only, RELEASED, settlement } from "../../src/testing/storage-suite/stage.ts";
import { expectWhole, type Place, places } from "./upkeep-stage.ts";

// Goal: whoever changes a job at the same time as others, each change sees the one before it, and a job is never
// lost on its way from one place to another.
// Method: the other transaction is left open just where it hurts, until the change waits for it.

const place = places();

/** The transaction of somebody else, ended once `change` waits for it. */
async function meanwhile<T>(
  at: Place,
  other: readonly [string, unknown[]?][],
  change: () => Promise<T>,
): Promise<T> {
  const { sql } = await at.client();
  await sql("begin");
  for (const [text, values] of other) await sql(text, values);
  const result = change();
  await at.untilWaits();
  await sql("commit");
  return result;
}

describe("a change", () => {
  test("of a job that is claimed meanwhile asks its new holder", async () => {
    const at = await place();
    const id = await at.stage.jobIn("available");
    const claim: [string, unknown[]?][] = [
      ["delete from $s.ready where id = $1", [id]],
      [
        `insert into $s.lease (claimed_at, lo, hi, part, token, process_id, claimed_by, origin, ids)
         values (0, $1::bigint, $1::bigint, 0, 't', 'p1', 'p1', 't', array[$1::bigint])`,
        [id],
      ],
      ["insert into $s.tally select lane, 1, 2, 4 from $s.job where id = $1", [id]],
    ];
    expect(await meanwhile(at, claim, () => at.stage.change(id, { kind: "cancel", reason: "x" }))).toBe(
      "asked",
    );
    expect((await at.stage.beat()).asks).toEqual([{ id, generation: 0, reason: "x" }]);
    await expectWhole(at);
  });

  test("of a job that becomes due meanwhile finds it in line", async () => {
    const at = await place();
    const id = await at.stage.jobIn("scheduled");
    const promotion: [string][] = [["select $s.promote(1e15, 10)"]];
    const result = await meanwhile(at, promotion, () =>
      at.stage.change(id, { kind: "priority", priority: 9 }),
    );
    expect(result).toBe("changed");
    expect(await at.stage.get(id)).toMatchObject({ state: "available", priority: 9 });
    await expectWhole(at);
  });

  test("of a job that ends meanwhile finds it finished", async () => {
    const at = await place();
    const id = await at.stage.jobIn("running");
    const lease = at.stage.leaseFor(id);
    const end: [string, unknown[]][] = [
      [
        "select $s.complete(null, array[$1::bigint], '{0}', array[$2], '{1}', '{0}', '{0}', null, null, null)",
        [id, lease.token],
      ],
    ];
    expect(await meanwhile(at, end, () => at.stage.change(id, { kind: "remove" }))).toBe("changed");
    expect(await at.stage.isThere(id)).toBe(false);
    await expectWhole(at);
  });

  test("of a finished job that is retried meanwhile does not take it for missing", async () => {
    const at = await place();
    const id = await at.stage.jobIn("dead");
    const change = {
      id,
      src: 6,
      dst: 2,
      lane: 1,
      run_at: 0,
      generation: 1,
      attempt: 0,
      failures: 1,
      snoozes: 0,
      releases: 0,
    };
    const retry: [string, unknown[]][] = [
      ["select * from $s.hold_jobs(null, array[$1::bigint])", [id]],
      ["select $s.write_heads($1, '{}')", [JSON.stringify([{ ...change, priority: 0, marked: false }])]],
    ];
    const result = await meanwhile(at, retry, () => at.stage.change(id, { kind: "cancel", reason: "x" }));
    expect(result).toBe("changed");
    expect(await at.stage.state(id)).toBe("cancelled");
    await expectWhole(at);
  });

  test("waits for a transaction that is about to end the run, up to its deadline, and has no effect then", async () => {
    const at = await place();
    const id = await at.stage.jobIn("running");
    const free = await at.stage.jobIn("available");
    const handler = await at.client();
    await handler.sql("begin");
    await handler.sql("select from $s.job where id = $1 for update", [id]);
    const impatient = await at.other({ deadlineMs: 400 });
    const error = await impatient
      .change([id, free], { kind: "cancel", reason: "x" })
      .catch((one: unknown) => one);
    expect(error).toMatchObject({ code: "JOBWRIGHT_STORAGE_UNAVAILABLE" });
    // The other job is held up no longer than the call.
    expect(await at.stage.change(free, { kind: "cancel", reason: "y" })).toBe("changed");
    await handler.sql("rollback");
    expect(await at.stage.get(id)).not.toHaveProperty("cancelAsked");
    await expectWhole(at);
  });

  test("of the same jobs in another order never waits in a circle", async () => {
    const at = await place();
    const ids = await at.stage.enqueue(...Array.from({ length: 40 }, () => ({})));
    const storages = await Promise.all([at.other(), at.other(), at.other()]);
    const all = Array.from({ length: 30 }, (_, round) => {
      const order = round % 2 === 0 ? ids : [...ids].reverse();
      return storages[round % 3]?.change(order, { kind: "priority", priority: round });
    });
    await Promise.all(all);
    await expectWhole(at);
    expect(new Set((await at.stage.storage.get(ids)).map((job) => job?.priority)).size).toBe(1);
  });

  test("of more jobs than are locked at once answers for each, in order", async () => {
    const at = await place();
    const ids = await at.stage.enqueue(...Array.from({ length: 1_100 }, () => ({})));
    const asked = ids.flatMap((id, index) => (index % 100 === 0 ? [id, 999_999_999] : [id]));
    const results = await at.stage.storage.change(asked, { kind: "cancel", reason: "x" });
    expect(results).toEqual(asked.map((id) => (id === 999_999_999 ? "missing" : "changed")));
    expect(await at.stage.count({ state: "cancelled" })).toBe(1_100);
    // Newest end first: they ended in the order in which they were named.
    expect(await at.stage.listIds({ state: "cancelled" })).toEqual([...ids].reverse());
  });

  test("of a job that damage has left nowhere brings it back", async () => {
    const at = await place();
    const [inLine, gone] = await at.stage.enqueue({}, {});
    await at.stage.register();
    await at.stage.claim();
    await at.sql("delete from $s.lease");
    expect(await at.stage.change(inLine as number, { kind: "priority", priority: 1 })).toBe("changed");
    expect(await at.stage.change(gone as number, { kind: "cancel", reason: "x" })).toBe("changed");
    expect(await at.stage.claimIds()).toEqual([inLine]);
    await expectWhole(at);
  });

  test("tells those who wait, and the process that runs the job", async () => {
    const at = await place();
    const { stage } = at;
    const running = await stage.jobIn("running", { name: "a" });
    const [scheduled] = await stage.enqueue({ name: "a", later: { delayMs: 60_000 } });
    const listener = await at.client();
    const [channel] = await at.sql("select $s.channel()");
    await listener.sql(`listen "${channel?.[0]}"`);
    await stage.change(scheduled as number, { kind: "runAt", later: { delayMs: 90_000 } });
    await listener.sql("select 1");
    expect(listener.heard.splice(0)).toEqual([]);

    await at.sql("insert into $s.waiter values ('p9', '{q}') on conflict do nothing");
    await at.sql("insert into $s.awaited values ($1, 'i', 1e15)", [scheduled]);
    await stage.change(running, { kind: "cancel", reason: "x" });
    await stage.change(scheduled as number, { kind: "retry" });
    await stage.change(scheduled as number, { kind: "cancel", reason: "x" });
    await stage.storage.configure({ queue: "q", name: "a" }, { paused: true });
    await stage.storage.configure({ queue: "q", name: "a" }, { paused: false });
    await listener.sql("select 1");
    expect(listener.heard.splice(0)).toEqual(["cp1", 'a[["q", "a"]]', `f${scheduled}`]);
    await stage.change(scheduled as number, { kind: "retry" });
    await stage.storage.configure({ queue: "q" }, { paused: false });
    await listener.sql("select 1");
    expect(listener.heard).toEqual(['a[["q", "a"]]', 'a[["q", "a"]]']);
  });
});

describe("a retry", () => {
  test("brings back what the finished job had: attempts, checkpoint, error, whatever their texts hold", async () => {
    const at = await place();
    const { stage } = at;
    const hostile = '\0 \ud800 " \\ ,] \u0001';
    const error = { ...ERROR, message: hostile };
    await stage.register();
    const id = await stage.enqueueOne({ maxRetries: null, tags: [hostile], givenId: "g" });
    const fail = async (outcome: object): Promise<void> => {
      const job = await stage.claimOne();
      if (job.attempt === 0) {
        await stage.storage.note(job, {
          checkpoint: { [hostile]: JSON.stringify(hostile), "": '[1,{"a":[2]}]', raw: hostile },
        });
      }
      await stage.end(job, { ...outcome, error } as never);
    };
    for (let n = 0; n < 54; n += 1) await fail(failed({ delayMs: 0 }));
    await fail({ state: "dead" });
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...Array.from({ length: 40 }, (_, index) => 16 + index)];
    const entries = await stage.storage.attempts(id);
    expect(entries.map(({ number }) => number)).toEqual(numbers);
    expect(await at.sql("select from $s.attempt union all select from $s.checkpoint")).toEqual([]);

    expect(await stage.change(id, { kind: "retry" })).toBe("changed");
    await expectWhole(at);
    expect(await stage.storage.attempts(id)).toEqual(entries);
    expect(await stage.get(id)).toMatchObject({
      error,
      failures: 55,
      attempt: 0,
      tags: [hostile],
      givenId: "g",
    });
    const again = await stage.claimOne();
    expect(again.checkpoint).toEqual({
      [hostile]: JSON.stringify(hostile),
      "": '[1,{"a":[2]}]',
      raw: hostile,
    });
    // The bytes came back, too: nothing more fits than before.
    const rest =
      limits.checkpointBytes -
      Buffer.byteLength(hostile) * 2 -
      Buffer.byteLength(JSON.stringify(hostile)) -
      16;
    const entry = (n: number): Promise<string> =>
      stage.storage.note(again, { checkpoint: { x: "1".repeat(n) } });
    await expect(entry(rest - 1)).resolves.toBe("saved");
    await expect(entry(rest + 1)).rejects.toThrow(InvalidValueError);
    await stage.end(again, failed({ delayMs: 0 }));
    expect((await stage.storage.attempts(id)).map(({ number }) => number)).toEqual([
      ...numbers.filter((n) => n !== 16),
      56,
    ]);
    await expectWhole(at);
  });

  test("of a job that is cancelled and retried over and over keeps one row of each kind", async () => {
    const at = await place();
    const id = await at.stage.enqueueOne({ givenId: "g" });
    for (let n = 0; n < 5; n += 1) {
      expect(await at.stage.change(id, { kind: "cancel", reason: "\0" })).toBe("changed");
      expect(await at.stage.get(id)).toMatchObject({ state: "cancelled", reason: "\0" });
      expect(await at.stage.change(id, { kind: "retry" })).toBe("changed");
      await expectWhole(at);
    }
    expect(await at.stage.get(id)).toMatchObject({ generation: 5 });
  });
});

describe("a settle", () => {
  test("by two connections at once has one effect, and both are told so", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register();
    await stage.enqueue(...Array.from({ length: 30 }, () => ({})));
    const jobs = await stage.claim();
    const work = jobs.map((job) =>
      settlement(job, failed({ delayMs: 0 }), { enqueue: [newJob({ name: "b" })] }),
    );
    const other = await at.other();
    const answers = await Promise.all([stage.storage.settle(work), other.settle([...work].reverse())]);
    expect(answers.flat()).toEqual(Array.from({ length: 60 }, () => "settled"));
    expect(await stage.count({ name: "b" })).toBe(30);
    for (const { id } of jobs) expect(await stage.storage.attempts(id)).toHaveLength(1);
    await expectWhole(at);
  });

  test("stores the jobs that come with it, or has no effect", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register();
    const id = await stage.enqueueOne();
    const job = await stage.claimOne();
    const work = [settlement(job, { state: "dead", error: ERROR }, { enqueue: [newJob({ name: "b" })] })];
    await at.sql("alter table $s.policy rename to elsewhere");
    await expect(stage.storage.settle(work)).rejects.toMatchObject({ code: "JOBWRIGHT_STORAGE_REFUSED" });
    await at.sql("alter table $s.elsewhere rename to policy");
    expect(await stage.state(id)).toBe("running");
    expect(await stage.storage.settle(work)).toEqual(["settled"]);
    expect(await stage.count({ name: "b" })).toBe(1);
    await expectWhole(at);
  });

  test("gives places in the order of its outcomes, those of jobs that come with them among them", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register();
    const ids = await stage.enqueue({}, {}, {});
    const jobs = await stage.claim();
    const more = { enqueue: [newJob(), newJob()] };
    await stage.storage.settle(jobs.map((job) => settlement(job, failed({ delayMs: 0 }), more)));
    const order = await stage.claimIds();
    expect(order).toHaveLength(9);
    expect(order.filter((_, index) => index % 3 === 0)).toEqual(ids);
  });

  test("gives places in the order of its outcomes, not of the ids", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register();
    const ids = await stage.enqueue(...Array.from({ length: 12 }, () => ({})));
    const jobs = [...(await stage.claim())].sort((a, b) => ((a.id * 7) % 12) - ((b.id * 7) % 12));
    await stage.storage.settle(jobs.map((job) => settlement(job, failed({ delayMs: 0 }))));
    const order = await stage.claimIds();
    expect(order).toEqual(jobs.map(({ id }) => id));
    expect(order).not.toEqual(ids);
  });

  test("of a run that a rescuer is taking over is stale", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register("p1");
    const id = await stage.enqueueOne();
    const job = await stage.claimOne();
    await stage.beat("p1", { leaving: true });
    await stage.register("p2");
    const taking: [string][] = [["select $s.rescue(1000000, 'p2', 'mine', 10)"]];
    expect(await meanwhile(at, taking, () => stage.settle(job, RELEASED))).toBe("stale");
    expect(await stage.settle({ ...job, token: "mine" }, RELEASED)).toBe("settled");
    expect(await stage.get(id)).toMatchObject({ state: "available", releases: 1 });
    await expectWhole(at);
  });
});

describe("a note", () => {
  test("and another one at once together keep to the limit", async () => {
    const at = await place();
    const id = await at.stage.jobIn("running");
    const lease = at.stage.leaseFor(id);
    const other = await at.other();
    const half = "1".repeat(limits.checkpointBytes * 0.6);
    const answers = await Promise.allSettled([
      at.stage.storage.note(lease, { checkpoint: { a: half }, result: "1" }),
      other.note(lease, { checkpoint: { b: half }, result: "2" }),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const refused = answers.find((answer) => answer.status === "rejected");
    expect(refused?.reason).toBeInstanceOf(InvalidValueError);
    const [kept] = await at.sql("select key, (select result from $s.job) from $s.checkpoint");
    expect(['"a",1', '"b",2']).toContain(kept?.join());
  });

  test("of a run that has ended meanwhile is stale, and leaves nothing behind", async () => {
    const at = await place();
    const id = await at.stage.jobIn("running");
    const lease = at.stage.leaseFor(id);
    const end: [string, unknown[]][] = [
      [
        "select $s.complete(null, array[$1::bigint], '{0}', array[$2], '{1}', '{0}', '{0}', null, null, null)",
        [id, lease.token],
      ],
    ];
    const answer = await meanwhile(at, end, () =>
      at.stage.storage.note(lease, { checkpoint: { a: "1" }, result: "2" }),
    );
    expect(answer).toBe("stale");
    expect(only(await at.sql("select count(*) from $s.checkpoint"))).toEqual(["0"]);
    expect(await at.stage.get(id)).not.toHaveProperty("result");
    await expectWhole(at);
  });
});

test("pausing a lane that nobody has used makes it known", async () => {
  const at = await place();
  await Promise.all(
    Array.from({ length: 8 }, () =>
      at.stage.storage.configure({ queue: "q", name: "new" }, { paused: true }),
    ),
  );
  await at.stage.enqueueOne({ name: "new" });
  await at.stage.register();
  expect(await at.stage.claimIds({ names: ["new"] })).toEqual([]);
  await at.stage.storage.configure({ queue: "q", name: "new" }, { paused: false });
  expect(await at.stage.claimIds({ names: ["new"] })).toHaveLength(1);
});
