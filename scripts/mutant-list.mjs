/**
 * What `npm run mutants` breaks on purpose, one after the other: each entry takes one rule out of the
 * sources, and the named tests must notice. `test/mutants.test.ts` keeps the list in step with the sources.
 *
 * - `why`: what users would suffer if the rule were gone
 * - `find`: text that stands exactly once in `file`; `replace`: what stands there instead. It must compile
 * - `tests`: what vitest is given, the smallest selection that should notice
 */
export const MUTANTS = [
  // ── Fencing ────────────────────────────────────────────────────────────────
  {
    name: "memory-no-generation",
    why: "a lease of an earlier cycle would settle the job that others hold by now",
    file: "src/storage/memory/runs.ts",
    find: "job.token === lease.token &&\n      job.head.generation === lease.generation",
    replace: "job.token === lease.token",
    tests: ["test/storage.test.ts", "-t", "memory fencing changes nothing by a settle"],
  },
  {
    name: "lmdb-no-generation",
    why: "a lease of an earlier cycle would settle the job that others hold by now",
    file: "src/storage/lmdb/leases.ts",
    find: "lease.generation === generation && lease.token === token",
    replace: "generation >= 0 && lease.token === token",
    tests: ["test/storage.test.ts", "-t", "lmdb fencing changes nothing by a settle"],
  },
  {
    name: "memory-no-token",
    why: "a process that lost its job would still end it for the one that holds it now",
    file: "src/storage/memory/runs.ts",
    find: "job.token === lease.token &&\n      job.head.generation === lease.generation",
    replace: "job.head.generation === lease.generation",
    tests: ["test/storage.test.ts", "-t", "memory fencing changes nothing by a settle"],
  },
  {
    name: "lmdb-no-token",
    why: "a process that lost its job would still end it for the one that holds it now",
    file: "src/storage/lmdb/leases.ts",
    find: "lease.generation === generation && lease.token === token",
    replace: "lease.generation === generation && token.length >= 0",
    tests: ["test/storage.test.ts", "-t", "lmdb fencing changes nothing by a settle"],
  },
  {
    name: "lmdb-settle-asks-no-lease",
    why: "a settle would count for whoever sends it, while notes and beats are fenced",
    file: "src/storage/lmdb/settle.ts",
    find: 'import { standing } from "./leases.ts";',
    replace: `import { readLease } from "./leases.ts";
const standing = (tables: Parameters<typeof readLease>[0], lease: Lease): ReturnType<typeof readLease> =>
  readLease(tables, lease.id);`,
    tests: ["test/storage.test.ts", "-t", "lmdb fencing changes nothing by a settle"],
  },
  {
    name: "lmdb-settles-twice-in-a-batch",
    why: "a settlement that comes twice in one call would be applied twice, and counters would drift",
    file: "src/storage/lmdb/settle.ts",
    find: "ledger.follow.drops.has(lease.id) ? undefined : standing(store.volatile, lease)",
    replace: "standing(store.volatile, lease)",
    tests: ["test/storage.test.ts", "-t", "lmdb settle repeated"],
  },
  {
    name: "repeated-settle-is-stale",
    why: "a settle whose answer was lost would be told stale, and the worker would report lost work",
    file: "src/storage/memory/runs.ts",
    find: "job.head.settledBy === token && job.settledGeneration === generation",
    replace: "job.head.settledBy === token && job.settledGeneration === generation + 1",
    tests: ["test/storage.test.ts", "-t", "memory settle repeated"],
  },
  {
    name: "heed-no-ask",
    why: "a cancel that is asked while the run fails would be forgotten, and the job would be retried",
    file: "src/job/lifecycle.ts",
    find: "if (reason === undefined ||",
    replace: "if (reason === undefined || reason.length >= 0 ||",
    tests: ["test/worker/cancel-race.test.ts"],
  },

  // ── Attempts and recovery ──────────────────────────────────────────────────
  {
    name: "rescue-spends-nothing",
    why: "a poison job would kill its workers for ever",
    file: "src/job/lifecycle.ts",
    find: "return afterFailure(job, { name: lost.name, message: lost.message, code: lost.code }, random);",
    replace: `return {
        state: "scheduled",
        later: { delayMs: 0 * random },
        attempt: "kept",
        error: { name: lost.name, message: lost.message, code: lost.code },
      };`,
    tests: [
      "test/worker/liveness.test.ts",
      "-t",
      "spends an attempt of what ran in a lost process, and gives up after maxRetries",
    ],
  },
  {
    name: "one-retry-too-many",
    why: "maxRetries would not mean what it says",
    file: "src/job/lifecycle.ts",
    find: "spent > job.maxRetries",
    replace: "spent > job.maxRetries + 1",
    tests: ["test/worker/outcomes.test.ts", "-t", "is dead after maxRetries"],
  },
  {
    name: "snooze-spends-an-attempt",
    why: "a handler that says 'not now' a few times would be dead",
    file: "src/job/lifecycle.ts",
    find: '? { state: "scheduled", later: end.later, attempt: "kept" }',
    replace: '? { state: "scheduled", later: end.later, attempt: "spent" }',
    tests: ["test/worker/outcomes.test.ts", "-t", "snoozes without spending an attempt"],
  },
  {
    name: "memory-read-ahead-counts-as-started",
    why: "a process that dies would spend attempts of jobs it never started",
    file: "src/storage/memory/runs.ts",
    find: "job.started = job.head.marked;",
    replace: "job.started = true;",
    tests: [
      "test/worker/liveness.test.ts",
      "-t",
      "'memory' spends nothing of what a lost process had only read",
    ],
  },
  {
    name: "lmdb-read-ahead-counts-as-started",
    why: "a process that dies would spend attempts of jobs it never started",
    file: "src/storage/lmdb/claim.ts",
    find: "started: head.marked,",
    replace: "started: true,",
    tests: [
      "test/worker/liveness.test.ts",
      "-t",
      "'lmdb' spends nothing of what a lost process had only read",
    ],
  },
  {
    name: "lost-job-is-not-marked",
    why: "a poison job would be read ahead again and again, and never found out",
    file: "src/job/lifecycle.ts",
    find: 'if (!end.started) return { state: "available", marked: true };',
    replace: 'if (!end.started) return { state: "available", marked: false };',
    tests: ["test/rows.test.ts", "-t", "is given alone from then on"],
  },
  {
    name: "memory-rescues-the-living",
    why: "jobs would run twice at once while their first process is well",
    file: "src/storage/memory/memory-storage.ts",
    find: "if (!process.isLost(alive)) continue;",
    replace: "if (process === rescuer) continue;",
    tests: ["test/storage.test.ts", "-t", "memory rescue takes nothing from processes that live"],
  },
  {
    name: "lmdb-dead-process-is-not-lost",
    why: "after a crash jobs would wait for the silence limit instead of being rescued at once",
    file: "src/storage/lmdb/processes.ts",
    find: "return process.instance !== undefined && !store.instances.isAlive(process.instance);",
    replace: "return process.instance !== undefined && store.instances.number < 0;",
    tests: ["test/lmdb/processes.test.ts", "-t", "is lost at once, however long its silence might be"],
  },

  // ── Durability ─────────────────────────────────────────────────────────────
  {
    name: "lmdb-answers-before-the-commit",
    why: "an acknowledged job would be lost when the process dies a moment later",
    file: "src/storage/lmdb/environments.ts",
    find: `    const returned: unknown = body();
    if (returned !== undefined) throw new TypeError("The body of a transaction must return nothing.");`,
    replace: `    body();
    return new Promise<void>((resolve) => setTimeout(resolve, 50));`,
    tests: ["test/lmdb/processes.test.ts", "-t", "see at once what the other was answered for"],
  },
  {
    name: "lmdb-commits-without-sync",
    why: "an acknowledged job would be lost with the power",
    file: "src/storage/lmdb/environments.ts",
    find: "transact(this.#durableRoot, body);",
    replace: "this.#durableRoot?.transactionSync(() => body(), 0x10000);",
    tests: ["src/storage/lmdb/durable.test.ts"],
  },
  {
    name: "lmdb-opened-without-sync",
    why: "an acknowledged job would be lost with the power",
    file: "src/storage/lmdb/environments.ts",
    find: "...(isDurable ? {} : { noSync: true, noMemInit: true }),",
    replace: "...(isDurable ? { noSync: true } : { noSync: true, noMemInit: true }),",
    tests: ["src/storage/lmdb/durable.test.ts"],
  },
  {
    name: "lmdb-volatile-before-durable",
    why: "a process that dies between the writes would leave a job that nobody holds and nobody can claim",
    file: "src/storage/lmdb/store.ts",
    find: `        writeState(this.durable, state, this.lanes);
      });`,
    replace: `        writeState(this.durable, state, this.lanes);
        const { follow } = ledger;
        if (!hasFollow(follow)) return;
        this.writeVolatile((leases) => leases.follow(follow));
        follow.drops.clear();
        for (const list of [follow.again, follow.gone, follow.asks]) list.splice(0);
      });`,
    tests: ["test/rows.test.ts", "-t", "a settle whose durable write fails leaves its lease standing"],
  },
  {
    name: "lmdb-opens-without-the-gate",
    why: "LMDB loses what others commit while an environment is being opened",
    file: "src/storage/lmdb/store.ts",
    find: "await this.#gate.pass(() => {\n        this.environments.open();",
    replace: "await Promise.resolve().then(() => {\n        this.environments.open();",
    tests: ["test/crash/gate.test.ts"],
  },
  {
    name: "lmdb-forgets-batches",
    why: "an enqueue whose answer was lost would make every job twice",
    file: "src/storage/lmdb/enqueue.ts",
    find: "const batch = batchId === undefined ? undefined : readBatch(store.durable, batchId);",
    replace: "const batch = readBatch(store.durable, `other ${batchId}`);",
    tests: ["test/jobs/enqueue.test.ts", "-t", "'lmdb' group commit repeats a batch whose answer was lost"],
  },
  {
    name: "memory-batch-not-atomic",
    why: "a refused enqueueMany would leave half of its jobs behind",
    file: "src/storage/memory/job-store.ts",
    find: "const { index, existing } = refused;",
    replace:
      "const { index, existing } = refused;\n      for (const spec of group.slice(0, index)) this.store(spec, now);",
    tests: ["test/jobs/enqueue.test.ts", "-t", "'memory' enqueueMany is all or nothing"],
  },
  {
    name: "lmdb-batch-not-atomic",
    why: "a refused enqueueMany would leave half of its jobs behind",
    file: "src/storage/lmdb/enqueue.ts",
    find: "if (refused !== undefined) return { ok: false, ...refused };",
    replace: `if (refused !== undefined) {
    for (const job of group.slice(0, refused.index)) ledger.create(job);
    return { ok: false, ...refused };
  }`,
    tests: ["test/jobs/enqueue.test.ts", "-t", "'lmdb' enqueueMany is all or nothing"],
  },
  {
    name: "memory-given-id-not-checked",
    why: "an id chosen by the caller would not keep the job from being made twice",
    file: "src/storage/memory/job-store.ts",
    find: 'if (existing !== undefined) return { status: "existing", id: existing.id };',
    replace: 'if (existing?.id === 0) return { status: "existing", id: existing.id };',
    tests: ["test/jobs/enqueue.test.ts", "-t", "'memory' ids chosen by the caller answer with the job"],
  },
  {
    name: "lmdb-given-id-not-checked",
    why: "an id chosen by the caller would not keep the job from being made twice",
    file: "src/storage/lmdb/ledger.ts",
    find: 'if (existing !== undefined) return { status: "existing", id: existing };',
    replace: 'if (existing === 0) return { status: "existing", id: existing };',
    tests: ["test/jobs/enqueue.test.ts", "-t", "'lmdb' ids chosen by the caller answer with the job"],
  },

  // ── Order, retention, time ─────────────────────────────────────────────────
  {
    name: "memory-released-job-loses-its-place",
    why: "every deploy would send the jobs at the head of the line to its end",
    file: "src/storage/memory/runs.ts",
    find: 'if (outcome.state === "available") this.#store.backToItsPlace(job);\n    else this.#store.arrive(job);',
    replace: "this.#store.arrive(job);",
    tests: ["test/storage.test.ts", "-t", "memory order gives a released job back its old place"],
  },
  {
    name: "lmdb-released-job-loses-its-place",
    why: "every deploy would send the jobs at the head of the line to its end",
    file: "src/storage/lmdb/settle.ts",
    find: 'const keepsPlace = outcome.state === "available";',
    replace: 'const keepsPlace = outcome.state === "available" && job.id < 0;',
    tests: ["test/storage.test.ts", "-t", "lmdb order gives a released job back its old place"],
  },
  {
    name: "memory-promotes-by-time-alone",
    why: "jobs due at one instant would start in any order",
    file: "src/storage/memory/job-store.ts",
    find: "job.at = job.head.runAt;\n    job.place = job.id;",
    replace: "job.at = job.head.runAt;\n    job.place = -job.id;",
    tests: ["test/storage.test.ts", "-t", "memory order lines promoted jobs up by runAt, then id"],
  },
  {
    name: "lmdb-promotes-in-reverse",
    why: "due jobs would overtake those that were due before them",
    file: "src/storage/lmdb/upkeep.ts",
    find: "for (const { key } of due) {",
    replace: "for (const { key } of due.toReversed()) {",
    tests: ["test/storage.test.ts", "-t", "lmdb order lines promoted jobs up by runAt, then id"],
  },
  {
    name: "memory-priority-ignored",
    why: "urgent jobs would wait behind everything that came before them",
    file: "src/storage/memory/give.ts",
    find: "x.head.priority < y.head.priority || (x.head.priority === y.head.priority && x.place < y.place)",
    replace: "x.place < y.place",
    tests: [
      "test/storage.test.ts",
      "-t",
      "memory order merges the names of a queue by priority, then by seq",
    ],
  },
  {
    name: "memory-retention-0-ignored",
    why: "jobs that nobody wants to keep would fill the storage",
    file: "src/storage/memory/job-store.ts",
    find: "if (expiresAt !== undefined && expiresAt <= endedAt) {",
    replace: "if (expiresAt !== undefined && expiresAt < endedAt) {",
    tests: [
      "test/storage.test.ts",
      "-t",
      "memory prune and retention removes a completed job with retention 0 at once",
    ],
  },
  {
    name: "lmdb-retention-0-ignored",
    why: "jobs that nobody wants to keep would fill the storage",
    file: "src/storage/lmdb/ledger.ts",
    find: "head.expiresAt <= this.now",
    replace: "head.expiresAt < this.now",
    tests: [
      "test/storage.test.ts",
      "-t",
      "lmdb prune and retention removes a completed job with retention 0 at once",
    ],
  },
  {
    name: "paused-lanes-are-served",
    why: "a queue that an operator has paused would go on",
    file: "src/storage/lmdb/claim.ts",
    find: "if (lane !== undefined && !lane.isPaused) open.add(lane);",
    replace: "if (lane !== undefined) open.add(lane);",
    tests: ["test/jobs/steer.test.ts", "-t", "'lmdb' pauses and resumes a queue"],
  },
  {
    name: "timer-not-clamped",
    why: "a job due in 25 days would start at once, and its timer would spin",
    file: "src/clock.ts",
    find: "Math.max(0, Math.min(left, TIMEOUT_MS_MAX)),",
    replace: "Math.max(0, Math.min(left, TIMEOUT_MS_MAX * 1_000_000)),",
    tests: ["src/clock.test.ts", "-t", "is waited for in few steps"],
  },
  {
    name: "backoff-without-cap",
    why: "a job that fails often would wait for years",
    file: "src/job/backoff.ts",
    find: "const base = backoff.firstMs === 0 ? 0 : Math.min(backoff.maxMs, grown);",
    replace: "const base = backoff.firstMs === 0 ? 0 : grown;",
    tests: ["src/job/backoff.test.ts", "-t", "doubles from 2 s to an hour by default"],
  },
  {
    name: "backoff-without-jitter",
    why: "jobs that failed together would fail together again",
    file: "src/job/backoff.ts",
    find: "Math.min(backoff.maxMs, grown);\n      return Math.round(base * (1 + backoff.jitter * random));",
    replace: "Math.min(backoff.maxMs, grown);\n      return Math.round(base);",
    tests: ["src/job/backoff.test.ts", "-t", "spread evenly"],
  },

  // ── Payloads ───────────────────────────────────────────────────────────────
  {
    name: "payload-assigned",
    why: "a payload with a key __proto__ would change what the handler sees",
    file: "src/job/payload.ts",
    find: "JSON.parse(text)",
    replace: "Object.assign({}, JSON.parse(text))",
    tests: ["src/job/payload.test.ts", "-t", "a key __proto__"],
  },
  {
    name: "bad-payload-is-retried",
    why: "a payload that can never be run would be tried again and again",
    file: "src/worker/run.ts",
    find: 'return { kind: "threw", error: serializeError(thrown.cause), fatal: true };',
    replace: 'return { kind: "threw", error: serializeError(thrown.cause) };',
    tests: [
      "test/worker/outcomes.test.ts",
      "-t",
      "gives up without a retry when the stored payload no longer fits",
    ],
  },

  // ── The worker ─────────────────────────────────────────────────────────────
  {
    name: "heartbeat-stops-after-the-first",
    why: "every long run would be taken for lost and run twice",
    file: "src/worker/heartbeat.ts",
    find: "this.#deps.asks(result.asks);\n      this.#schedule();",
    replace: "this.#deps.asks(result.asks);",
    tests: ["src/worker/heartbeat.test.ts", "-t", "shows what it holds with every one"],
  },
  {
    name: "fence-never-fires",
    why: "a process that nobody believes in would go on working beside its successor",
    file: "src/worker/heartbeat.ts",
    find: "this.stop();\n    this.#deps.fence();",
    replace: "this.stop();",
    tests: ["src/worker/heartbeat.test.ts", "-t", "fences"],
  },
  {
    name: "fence-counts-from-the-answer",
    why: "others may count the silence from the moment a beat was sent: the fence would come too late",
    file: "src/worker/heartbeat.ts",
    find: "if (!result.known) return this.#fence();\n      this.#acknowledged(sentAt);",
    replace:
      "if (!result.known) return this.#fence();\n      this.#acknowledged(Math.max(sentAt, performance.now()));",
    tests: ["test/rows.test.ts", "-t", "the fence counts from the moment a later beat was sent"],
  },
  {
    name: "fence-counts-from-the-first-answer",
    why: "others may count the silence from the moment a beat was sent: the fence would come too late",
    file: "src/worker/heartbeat.ts",
    find: "this.#acknowledged(sentAt);\n    this.#schedule();",
    replace: "this.#acknowledged(Math.max(sentAt, performance.now()));\n    this.#schedule();",
    tests: ["test/rows.test.ts", "-t", "the fence counts from the moment the first beat was sent"],
  },
  {
    name: "stop-forgets-the-claim-in-flight",
    why: "jobs claimed while the worker stops would wait until it is taken for lost",
    file: "src/worker/pipeline.ts",
    find: "!this.hasUnsettled && this.#request === undefined",
    replace: "!this.hasUnsettled",
    tests: ["test/worker/stop.test.ts", "-t", "waits for the claim in flight"],
  },
  {
    name: "claims-while-it-stops",
    why: "a stop would never come to an end beside a full queue",
    file: "src/worker/worker.ts",
    find: 'if (this.#phase !== "started" || this.#paused || this.#membership.isFenced) return false;',
    replace: "if (this.#paused || this.#membership.isFenced) return false;",
    tests: ["test/worker/stop.test.ts", "-t", "waits for running handlers, and starts none meanwhile"],
  },
  {
    name: "value-after-the-timeout-counts",
    why: "a run that took too long would complete, or not, by chance",
    file: "src/worker/run.ts",
    find: "if (run.timedOut !== undefined) return endOfThrow(run, run.timedOut);",
    replace: "if (run.timedOut === null) return endOfThrow(run, run.timedOut);",
    tests: ["test/worker/limits.test.ts", "-t", "'memory' fires the signal at the timeout"],
  },
  {
    name: "more-slots-than-allowed",
    why: "concurrency is what protects the services that handlers call",
    file: "src/worker/line.ts",
    find: "if (this.running >= this.concurrency) return undefined;",
    replace: "if (this.running > this.concurrency) return undefined;",
    tests: [
      "test/worker/flow.test.ts",
      "-t",
      "'memory' runs up to its slots of each queue at once, and never more",
    ],
  },
  {
    name: "lost-settle-is-not-repeated",
    why: "what has ended while the storage failed would be run again",
    file: "src/worker/settle.ts",
    find: "this.#waiting.unshift(...this.#inFlight);",
    replace: "",
    tests: ["test/worker/faults.test.ts", "-t", "'memory' repeats a settle whose answer was lost"],
  },
];
