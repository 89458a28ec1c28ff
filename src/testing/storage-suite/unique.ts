import assert from "node:assert/strict";
import { limits } from "../../job/limits.ts";
import type { JobHead } from "../../job/job.ts";
import type { NewJob } from "../../storage/storage.ts";
import { heldKeys, offer, withKey, withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import {
  assertHas,
  at,
  COMPLETED,
  failed,
  newJob,
  only,
  SITUATIONS,
  settlement,
  type Situation,
} from "./stage.ts";

const WAITING: readonly Situation[] = ["available", "marked", "scheduled", "retrying"];

/** What a key says of how long it is held, and in which situations of its job it is. */
const KINDS: readonly (readonly [
  string,
  NonNullable<Parameters<typeof withKey>[0]>,
  readonly Situation[],
])[] = [
  ["live", { while: "live" }, [...WAITING, "running", "asked"]],
  ["waiting", { while: "waiting" }, WAITING],
  ["for a time", { while: null, forMs: 60_000 }, SITUATIONS],
  ["waiting, and for a time", { while: "waiting", forMs: 60_000 }, SITUATIONS],
];

/** Keys and scopes are data. */
const NAMES = [
  "__proto__",
  "a:b",
  "a/b",
  "",
  "'; drop table job; --",
  "🙂",
  "\ud83d",
  "漢".repeat(200),
  "A",
  "a",
];

const cases: Case[] = [
  ...KINDS.map(([what, key, held]): Case => ({
    name: `keeps jobs of a key that is held ${what} out, whatever became of its holder, and lets others in`,
    async run(stage) {
      for (const situation of SITUATIONS) {
        const mine = { ...key, key: situation };
        const start = stage.clock.now();
        const id = await stage.jobIn(situation, withKey(mine));
        assertHas(await stage.get(id), { unique: withKey(mine).unique });
        const until = typeof key.forMs !== "number" ? {} : { until: start + key.forMs };
        const isTaken = held.includes(situation);
        const page = await stage.storage.keys({ scope: "a", key: situation, limit: 10 });
        assert.deepEqual(page, { keys: isTaken ? [{ key: situation, id, ...until }] : [] }, situation);
        const [status, other] = await offer(stage, withKey({ key: situation }, { name: "other" }));
        assert.equal(status, isTaken ? "existing" : "created", situation);
        assert.equal(other === id, isTaken);
      }
    },
  })),
  {
    name: "holds a key for its time after its job has ended and gone, for ever too, and not longer",
    async run(stage) {
      await stage.register();
      const retention = { completedMs: 0, cancelledMs: 0, deadMs: 0 };
      const [id, ever] = await stage.enqueue(
        withKey({ while: null, forMs: 60_000 }, { retention }),
        withKey({ key: "ever", while: null, forMs: null }, { retention }),
      );
      const until = stage.clock.now() + 60_000;
      for (const job of await stage.claim()) await stage.end(job, COMPLETED);
      assert.equal(await stage.count(), 0);
      await stage.clock.advance(59_999);
      await stage.storage.prune(100);
      assert.deepEqual(await heldKeys(stage), [
        { key: "ever", id: ever, until: null },
        { key: "k", id, until },
      ]);
      assert.deepEqual(await offer(stage, withKey()), ["existing", id]);
      await stage.clock.advance(1);
      assert.equal((await heldKeys(stage)).length, 1);
      await stage.clock.advance("3650d");
      await stage.storage.prune(100);
      assert.deepEqual(await offer(stage, withKey({ key: "ever" })), ["existing", ever]);
      assert.deepEqual((await offer(stage, withKey()))[0], "created");
    },
  },
  {
    name: "judges the jobs of a group in order, and groups of a call after one another",
    async run(stage) {
      const other = withKey({ key: "other" });
      const groups = [
        [withKey(), other, {}, withKey(), withKey({ onConflict: "replace" }, { payload: "2" })],
        [withKey(), withKey({ key: "third" })],
      ];
      const answers = await stage.storage.enqueue(groups.map((group) => group.map(newJob)));
      const [first, second] = answers;
      assert.ok(first?.ok && second?.ok);
      const ids = first.jobs.map(({ id }) => id);
      assert.deepEqual(
        first.jobs.map(({ status }) => status),
        ["created", "created", "created", "existing", "replaced"],
      );
      assert.deepEqual([ids[3], ids[4]], [ids[0], ids[0]]);
      assert.deepEqual(second.jobs[0], { status: "existing", id: ids[0] });
      assert.equal(second.jobs[1]?.status, "created");
      assert.equal(await stage.count(), 4);
      assertHas(await stage.get(at(ids, 0)), { payload: "2" });
    },
  },
  {
    name: "refuses a whole group for a held key that says so, names the holder, and stores the other groups",
    async run(stage) {
      const id = await stage.enqueueOne(withKey());
      const error = withKey({ onConflict: "error" });
      const groups = [
        [{}, withKey({ key: "x" }), error],
        [withKey({ key: "x" }), withKey({ key: "x", onConflict: "error" })],
        [withKey({ onConflict: "replace" }, { priority: 4 }), error],
        [withKey({ key: "x", onConflict: "error" })],
      ];
      const answers = await stage.storage.enqueue(
        groups.map((group) => group.map(newJob)),
        "batch",
      );
      const refusal = (existing: number): unknown => ({ kind: "key-held", existing });
      assert.deepEqual(answers.slice(0, 3), [
        { ok: false, refusal: refusal(id), index: 2 },
        { ok: false, refusal: refusal(0), index: 1 },
        { ok: false, refusal: refusal(id), index: 1 },
      ]);
      assert.equal(answers[3]?.ok, true);
      assert.equal(await stage.count(), 2);
      // What a refused group would have replaced is as it was.
      assertHas(await stage.get(id), { priority: 0, events: undefined });
      // A repetition answers as the first time, also when the key is free by now.
      await stage.change(id, { kind: "remove" });
      assert.deepEqual(
        await stage.storage.enqueue(
          groups.map((group) => group.map(newJob)),
          "batch",
        ),
        answers,
      );
    },
  },
  {
    name: "tells keys and scopes apart, whatever they are, and lists those of a scope",
    async run(stage) {
      const pairs = NAMES.flatMap((scope) => NAMES.slice(0, 4).map((key) => ({ scope, key })));
      pairs.push(
        ...[
          ["ab", "c"],
          ["a", "bc"],
        ].map(([scope = "", key = ""]) => ({ scope, key })),
      );
      const ids = await stage.enqueue(...pairs.map((pair) => withKey(pair)));
      for (const [index, pair] of pairs.entries()) {
        const held = { key: pair.key, id: at(ids, index) };
        assert.deepEqual(await stage.storage.keys({ ...pair, limit: 5 }), { keys: [held] });
      }
      const again = await stage.enqueueGroup(...pairs.map((pair) => withKey(pair)));
      assert.deepEqual(
        again,
        ids.map((id) => ({ status: "existing", id })),
      );
      for (const limit of [1, 3, 5, 100]) assert.equal((await heldKeys(stage, "", limit)).length, 4);
      assert.equal((await heldKeys(stage, "a", 2)).length, 5);
      for (const scope of ["none", "toString"]) {
        assert.deepEqual(await stage.storage.keys({ scope, limit: 1 }), { keys: [] });
        assert.deepEqual(await stage.storage.keys({ scope, key: "k", limit: 1 }), { keys: [] });
      }
    },
  },
  {
    name: "stores the first of each key of the largest group, and says of the others who holds theirs",
    async run(stage) {
      const half = limits.enqueueJobs / 2;
      const group = Array.from({ length: limits.enqueueJobs }, (_, n) =>
        withKey({ key: `${(n * 7) % half}` }),
      );
      const jobs = await stage.enqueueGroup(...group);
      const created = jobs.slice(0, half).map(({ id }) => id);
      assert.equal(new Set(created).size, half);
      const existing = created.map((id) => ({ status: "existing", id }));
      assert.deepEqual(jobs.slice(half), existing);
      assert.deepEqual(await stage.enqueueGroup(...group.slice(0, half)), existing);
      assert.equal(await stage.count(), half);
      const page = await stage.storage.keys({ scope: "a", limit: limits.listPage });
      assert.equal(page.keys.length, limits.listPage);
      assert.ok(page.next !== undefined);
    },
  },
  {
    name: "lets one of many racing calls in, and answers it to all others",
    async run(stage) {
      const rounds = 4;
      for (let round = 0; round < rounds; round++) {
        const onConflict = (["keep", "replace", "error", "keep"] as const)[round] ?? "keep";
        const job = (n: number): NewJob =>
          newJob(withKey({ key: `${round}`, onConflict }, { payload: `${n}` }));
        const answers = await Promise.all(
          Array.from({ length: 12 }, (_, n) =>
            // Every other call comes with a key of its own beside it, in changing order.
            stage.storage.enqueue([
              n % 2 === 0 ? [job(n)] : [newJob(withKey({ key: `own ${round} ${n}` })), job(n)],
            ]),
          ),
        );
        const groups = answers.map((answer) => only(answer));
        const results = groups.flatMap((group) => (group.ok ? group.jobs.slice(-1) : []));
        assert.equal(results.filter(({ status }) => status === "created").length, 1);
        const { id } = results[0] as { id: number };
        for (const result of results) assert.equal(result.id, id);
        const refused = groups.filter((group) => !group.ok);
        assert.equal(refused.length, onConflict === "error" ? 11 : 0);
        for (const group of refused) {
          assert.deepEqual(group.ok ? undefined : group.refusal, { kind: "key-held", existing: id });
        }
      }
    },
  },
  {
    name: "never has two live jobs of a key, however claims, ends and enqueues overlap",
    async run(stage) {
      await stage.register();
      let created = 0;
      for (let round = 0; round < 12; round++) {
        const claimed = await stage.claim();
        const [answers, settled] = await Promise.all([
          Promise.all([0, 1, 2].map(() => stage.enqueueGroup(withKey(), withKey({ key: "m" })))),
          stage.storage.settle(
            claimed.map((job) => settlement(job, round % 2 === 0 ? COMPLETED : failed({ delayMs: 0 }))),
          ),
        ]);
        assert.ok(settled.every((result) => result === "settled"));
        created += answers.flat().filter(({ status }) => status === "created").length;
        const live =
          (await stage.count({ state: "available" })) + (await stage.count({ state: "scheduled" }));
        assert.ok(live <= 2, `${live} jobs of two keys live`);
      }
      assert.equal(created, await stage.count());
      assert.ok(created >= 6);
    },
  },
  {
    name: "replaces what a waiting holder says, and leaves its identity and what it has done",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne(withKey({ forMs: 60_000 }, { trace: "00-one", tags: ["old"] }));
      const run = await stage.claimOne();
      await stage.storage.note(run, { checkpoint: { step: "5" } });
      await stage.end(run, failed({ delayMs: 30_000 }));
      await stage.clock.advance(500);
      const now = stage.clock.now();
      const by = newJob({
        ...withKey({ forMs: 90_000, onConflict: "replace" }),
        ...{ payload: '"new"', tags: ["new", "tags"], priority: -2, maxRetries: null, timeoutMs: 77 },
        ...{ backoff: { kind: "linear", stepMs: 1, maxMs: 9, jitter: 0 }, trace: "00-two" },
        ...{ retention: { completedMs: null, cancelledMs: 0, deadMs: 5 }, later: { delayMs: 20_000 } },
      });
      assert.deepEqual(await offer(stage, by), ["replaced", id]);
      const { later: _later, ...spec } = by;
      assertHas(await stage.get(id), {
        ...spec,
        ...{ id, state: "scheduled", runAt: now + 20_000, createdAt: now - 500, generation: 1 },
        ...{ attempt: 0, failures: 1, error: undefined, events: [{ at: now, kind: "replaced" }] },
      });
      assert.deepEqual(await heldKeys(stage), [{ key: "k", id, until: now + 90_000 }]);
      assert.deepEqual(await stage.listIds({ state: "scheduled", tag: "tags" }), [id]);
      await stage.clock.advance(20_000);
      await stage.storage.promote(10);
      assertHas(await stage.claimOne(), { ...spec, id, attempt: 0, checkpoint: { step: "5" } });
    },
  },
  {
    name: "keeps the place of a replaced job that nothing moves, and moves it like a change otherwise",
    async run(stage) {
      await stage.register();
      const keys = ["x", "y", "z"];
      const ids = await stage.enqueue({}, ...keys.map((key) => withKey({ key })), {});
      const replace = async (key: string, more: Partial<NewJob>): Promise<void> => {
        assert.equal((await offer(stage, withKey({ key, onConflict: "replace" }, more)))[0], "replaced");
      };
      await replace("y", { payload: "2" });
      await replace("x", { priority: 3 });
      await replace("x", {});
      await replace("z", { later: { delayMs: 1_000 } });
      const [first, x, y, z, last] = ids;
      assert.deepEqual(await stage.listIds({ state: "scheduled" }), [z]);
      const runAt = stage.clock.now() + 7_000;
      await replace("z", { later: { at: runAt } });
      assertHas(await stage.get(z as number), { state: "scheduled", runAt });
      assert.deepEqual(await stage.listIds({ state: "available" }), [first, y, last, x]);
      await replace("z", { later: { at: 0 } });
      assert.deepEqual(await stage.claimIds(), [first, y, last, x, z]);
    },
  },
  {
    name: "moves a replaced job to its place among the jobs that come with it",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne(withKey({}, { later: { delayMs: 500 } }));
      const replaced = withKey({ onConflict: "replace" });
      const jobs = await stage.enqueueGroup({}, { name: "b" }, replaced, {}, { name: "b" });
      assert.deepEqual(jobs[2], { status: "replaced", id });
      const order = jobs.map((job) => job.id);
      assert.deepEqual(await stage.claimIds({ names: ["a", "b"] }), order);
    },
  },
  {
    name: "takes a replaced job into and out of a limit key",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue(...["r", "k", "b"].map((key) => withKey({ key }, withLimit(1))));
      const [running, ready, blocked] = ids;
      const replace = async (key: string, more: Partial<NewJob>): Promise<void> => {
        assert.equal((await offer(stage, withKey({ key, onConflict: "replace" }, more)))[0], "replaced");
      };
      await stage.storage.promote(10);
      await stage.claimOne();
      assert.equal(await stage.state(running as number), "running");
      for (const id of [ready, blocked]) assert.equal(await stage.state(id as number), "blocked");
      // Without a limit it may go, and with another key promotion decides.
      await replace("k", {});
      assert.equal(await stage.state(ready as number), "available");
      await replace("b", withLimit(1, {}, { key: "other" }));
      assert.equal(await stage.state(blocked as number), "scheduled");
      await replace("k", withLimit(1));
      assert.equal(await stage.state(ready as number), "scheduled");
      assert.equal((await stage.storage.promote(10)).promoted, 2);
      assert.deepEqual(await stage.claimIds(), [blocked]);
      assert.equal(await stage.state(ready as number), "blocked");
    },
  },
  {
    name: "keeps out whoever would replace a job that runs, has ended, or stands in another lane",
    async run(stage) {
      const by = withKey({ onConflict: "replace" }, { payload: "2" });
      const id = await stage.jobIn("running", withKey());
      assert.deepEqual(await offer(stage, { ...by, name: "running" }), ["existing", id]);
      const ended = await stage.jobIn("completed", withKey({ key: "e", while: null, forMs: null }));
      const byEnded = withKey({ key: "e", onConflict: "replace" }, { name: "completed" });
      assert.deepEqual(await offer(stage, byEnded), ["existing", ended]);
      const waiting = await stage.enqueueOne(withKey({ key: "w" }));
      const other = withKey({ key: "w", onConflict: "replace" }, { queue: "other" });
      assert.deepEqual(await offer(stage, other), ["existing", waiting]);
      const kept = await stage.storage.get([id, ended, waiting]);
      for (const job of kept) assertHas(job as JobHead, { events: undefined });
      assert.equal(await stage.count(), 3);
    },
  },
  {
    name: "stores with a settle what no other job keeps out, and the ending job is none that does",
    async run(stage) {
      await stage.register();
      const [, holder] = await stage.enqueue(
        withKey({ key: "own" }),
        withKey({ key: "held" }, { name: "b" }),
      );
      const job = await stage.claimOne();
      const enqueue = [
        newJob(withKey({ key: "held", onConflict: "error" }, { payload: '"refused"' })),
        newJob(withKey({ key: "own", onConflict: "error" }, { payload: '"next"' })),
        newJob(withKey({ key: "held", onConflict: "replace" }, { name: "b", payload: '"newer"' })),
        newJob(withKey({ key: "own" }, { payload: '"second"' })),
      ];
      assert.equal(await stage.settle(job, COMPLETED, { enqueue }), "settled");
      assert.equal(await stage.state(job.id), "completed");
      const next = await stage.claimOne();
      assertHas(next, { payload: '"next"' });
      assert.equal(await stage.count(), 3);
      assertHas(await stage.get(holder as number), { payload: '"newer"' });
      // A run that does not end holds its key while its jobs are stored.
      const more = { enqueue: [newJob(withKey({ key: "own" }, { payload: '"kept out"' }))] };
      assert.equal(await stage.settle(next, failed({ delayMs: 0 }), more), "settled");
      assert.equal(await stage.count(), 3);
    },
  },
];

export const uniqueSection: Section = { title: "unique keys", cases };
