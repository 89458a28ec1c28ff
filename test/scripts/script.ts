import { badCalls } from "./bad-calls.ts";
import { Draw } from "./draw.ts";
import {
  itemCode,
  KEYS,
  manyOptionsCode,
  optionsCode,
  payloadCode,
  QUEUES,
  scheduleCode,
} from "./written.ts";

export type CallKind =
  | "enqueue"
  | "enqueueMany"
  | "enqueueMixed"
  | "enqueueTogether"
  | "ensure"
  | "advance"
  | "runMain"
  | "runMail"
  | "runSide"
  | "runBatches"
  | "renew"
  | "every"
  | "cron"
  | "declare"
  | "listSchedules"
  | "getSchedule"
  | "pauseSchedule"
  | "resumeSchedule"
  | "triggerSchedule"
  | "removeSchedule"
  | "cancel"
  | "cancelByHandle"
  | "retry"
  | "remove"
  | "retryDead"
  | "purgeDead"
  | "pauseQueue"
  | "resumeQueue"
  | "pauseLane"
  | "resumeLane"
  | "get"
  | "list"
  | "listDead"
  | "count"
  | "countDead"
  | "attempts"
  | "logs"
  | "history"
  | "keys"
  | "stats"
  | "queues"
  | "processes"
  | "result"
  | "waitAll"
  | "bad"
  | "lastLook";

/** One call of the public API, as code in the scope of `scope.ts`. */
export interface Call {
  /** Its number in the script, which `id(number)` names the jobs by that it made. Stays when others are dropped. */
  readonly step: number;
  readonly kind: CallKind;
  readonly code: string;
}

export type Script = readonly Call[];

/** How often each kind of call comes, relative to the others. */
const WEIGHTS: Readonly<Record<Exclude<CallKind, "lastLook">, number>> = {
  ...{ enqueue: 24, enqueueMany: 5, enqueueMixed: 4, enqueueTogether: 4, ensure: 2 },
  ...{ advance: 10, runMain: 10, runMail: 6, runSide: 1.5, runBatches: 2.5, renew: 1.5 },
  ...{ every: 2.5, cron: 2, declare: 1.5, listSchedules: 1.5, getSchedule: 1, pauseSchedule: 1.2 },
  ...{ resumeSchedule: 1.5, triggerSchedule: 1.8, removeSchedule: 1 },
  ...{ cancel: 4, cancelByHandle: 1, retry: 5, remove: 3, retryDead: 1.5, purgeDead: 0.8 },
  ...{ pauseQueue: 1, resumeQueue: 2, pauseLane: 1, resumeLane: 2 },
  ...{ get: 3, list: 4, listDead: 1, count: 2.5, countDead: 0.7, attempts: 1.5, logs: 1.5, history: 2 },
  ...{ keys: 2, stats: 1.5, queues: 1.5, processes: 0.7, result: 3, waitAll: 2 },
  bad: 7,
};
export const CALL_KINDS: readonly CallKind[] = [...(Object.keys(WEIGHTS) as CallKind[]), "lastLook"];

const SPANS = ["0ms", "1ms", "1s", "5s", "10s", "20s", "45s", "1m", "3m", "10m", "59m", "1h", "23h", "8d"];
const STATES = ["scheduled", "available", "blocked", "running", "completed", "cancelled", "dead"];
const WITH_WORK = ["plain", "mail", "unique", "limited", "serial", "short", "again", "batched", "orphan"];
const NAMES = [...WITH_WORK, "strict"];
/** Most scripts keep to a few definitions, whose jobs then meet more often. */
const FEW = 3;

/** A script of so many calls, and a last look at all there is. */
export function makeScript(seed: number, calls: number): Script {
  const writer = new Writer(new Draw(seed));
  const script: Call[] = [];
  for (let step = 1; step <= calls; step += 1) script.push(writer.next(step));
  return [...script, ...lastLook(calls)];
}

class Writer {
  readonly #draw: Draw;
  /** Steps that made jobs, and how many each. */
  readonly #made: { readonly step: number; readonly n: number }[] = [];

  readonly #names: readonly string[];

  constructor(draw: Draw) {
    this.#draw = draw;
    this.#names = draw.chance(0.75) ? draw.list(FEW, FEW, () => draw.pick(WITH_WORK)) : NAMES;
  }

  next(step: number): Call {
    const kind = this.#draw.weighted(WEIGHTS);
    return { step, kind, code: this.#code(kind, step) };
  }

  #code(kind: Exclude<CallKind, "lastLook">, step: number): string {
    const draw = this.#draw;
    switch (kind) {
      case "enqueue":
        return this.#making(step, 1, `jobs.enqueue(${this.#enqueued()})`);
      case "enqueueMany": {
        const payloads = draw.list(1, 5, () => payloadCode(draw));
        const options = manyOptionsCode(draw);
        const name = this.#withWork();
        return this.#making(
          step,
          payloads.length,
          `jobs.enqueueMany(${name}, [${payloads.join(", ")}]${options})`,
        );
      }
      case "enqueueMixed": {
        const items = draw.list(1, 5, () => itemCode(draw, this.#names));
        return this.#making(step, items.length, `jobs.enqueueMany([${items.join(", ")}])`);
      }
      case "enqueueTogether": {
        // All of one kind: calls with keys and calls without do not wait for each other, so they have no order.
        const name = this.#withWork();
        const calls = draw.list(2, 5, () => `jobs.enqueue(${name}, ${payloadCode(draw)})`);
        return this.#making(step, calls.length, `Promise.allSettled([${calls.join(", ")}])`);
      }
      case "ensure":
        return this.#making(
          step,
          1,
          `jobs.ensure(${draw.pick(["plain", "mail", "short"])}, ${payloadCode(draw)})`,
        );
      case "advance":
        return `clock.advance("${draw.pick(SPANS)}")`;
      case "runMain":
      case "runMail":
      case "runSide":
      case "runBatches":
        return `runUntilIdle(workers.${kind.slice(3).toLowerCase()})`;
      case "renew":
        return `renew("${draw.pick(["main", "mail", "side", "batches"])}")`;
      case "declare": {
        const declared = draw.list(1, 2, () => scheduleCode(draw, ""));
        return `renew("main", [${declared.join(", ")}])`;
      }
      case "every":
      case "cron":
        return scheduleCode(draw, "jobs.", kind);
      case "listSchedules":
        return "jobs.schedules.list()";
      case "getSchedule":
        return `jobs.schedules.get(${this.#scheduleKey()})`;
      case "pauseSchedule":
        return `jobs.schedules.pause(${this.#scheduleKey()})`;
      case "resumeSchedule":
        return `jobs.schedules.resume(${this.#scheduleKey()})`;
      case "triggerSchedule":
        return this.#making(step, 1, `jobs.schedules.trigger(${this.#scheduleKey()})`);
      case "removeSchedule":
        return `jobs.schedules.remove(${this.#scheduleKey()})`;
      case "cancel":
        return `jobs.cancel(${this.#id()}${draw.pick(["", ', "no longer wanted"', ', "because \\u{1f680}"'])})`;
      case "cancelByHandle":
        return `jobs.handle(${this.#id()}).cancel("by its handle")`;
      case "retry":
        return `jobs.retry(${this.#id()})`;
      case "remove":
        return `jobs.remove(${this.#id()})`;
      case "retryDead":
        return `jobs.dead.retry(${this.#filter(["queue", "name", "tag"])})`;
      case "purgeDead":
        return `jobs.dead.purge(${this.#filter(["queue", "name", "tag"])})`;
      case "pauseQueue":
      case "resumeQueue":
        return `jobs.${kind.slice(0, -5)}({ queue: "${draw.pick(QUEUES)}" })`;
      case "pauseLane":
      case "resumeLane":
        return `jobs.${kind.slice(0, -4)}({ queue: "${draw.pick(QUEUES)}", name: "${draw.pick(NAMES)}" })`;
      case "get":
        return `jobs.${draw.chance(0.8) ? `get(${this.#id()})` : `handle(${this.#id()}).get()`}`;
      case "list":
        return this.#list();
      case "listDead":
        return `pages((after) => jobs.dead.list({ ...${this.#filter(["queue", "tag"])}, limit: 3, after }))`;
      case "count":
        return `jobs.count(${this.#filter(["state", "queue", "name"])})`;
      case "countDead":
        return `jobs.dead.count(${this.#filter(["queue", "name"])})`;
      case "attempts":
      case "logs":
      case "history":
        return `jobs.${kind}(${this.#id()})`;
      case "keys":
        return this.#keys();
      case "stats":
        return `jobs.stats(${this.#filter(["queue", "name"])})`;
      case "queues":
        return "jobs.queues()";
      case "processes":
        return "processes()";
      case "result":
        return `resultOf(${this.#id()})`;
      case "waitAll":
        return `endsOf([${draw.list(1, 4, () => this.#id()).join(", ")}])`;
      case "bad":
        return draw.pick(badCalls)(this.#id());
    }
  }

  #making(step: number, n: number, code: string): string {
    this.#made.push({ step, n });
    return code;
  }

  #enqueued(): string {
    const draw = this.#draw;
    const name = draw.pick(this.#names);
    const payload = name === "strict" ? strictPayload(draw) : payloadCode(draw);
    return `${name}, ${payload}${optionsCode(draw)}`;
  }

  #withWork(): string {
    const name = this.#draw.pick(this.#names);
    return name === "strict" ? "unique" : name;
  }

  /** Of a job that was made lately, as a rule. */
  #id(): string {
    const draw = this.#draw;
    if (this.#made.length === 0) return "id(0)";
    const back = draw.chance(0.6) ? draw.int(Math.min(8, this.#made.length)) : draw.int(this.#made.length);
    const { step, n } = this.#made.at(-1 - back) as { step: number; n: number };
    return n === 1 ? `id(${step})` : `id(${step}, ${draw.int(n)})`;
  }

  #scheduleKey(): string {
    return `"${this.#draw.pick(["tick", "tock", "plain", "mail"])}"`;
  }

  #filter(fields: readonly ("state" | "queue" | "name" | "tag")[]): string {
    const values = { state: STATES, queue: QUEUES, name: NAMES, tag: ["red", "blue", "of-a"] };
    const given = fields.filter(() => this.#draw.chance(0.35));
    if (given.length === 0) return "{}";
    return `{ ${given.map((field) => `${field}: "${this.#draw.pick(values[field])}"`).join(", ")} }`;
  }

  #list(): string {
    const draw = this.#draw;
    const state = draw.pick(STATES);
    const limit = draw.pick([1, 2, 3, 7, 100]);
    const filter = this.#filter(["queue", "name", "tag"]);
    return `pages((after) => jobs.list({ state: "${state}", ...${filter}, limit: ${limit}, after }))`;
  }

  #keys(): string {
    const draw = this.#draw;
    const of = draw.chance(0.3) ? '"all"' : draw.pick(["unique", "plain", "mail", "strict"]);
    const key = draw.chance(0.3) ? `, key: "${draw.pick(KEYS)}"` : "";
    return `keys((after) => jobs.keys({ of: ${of}${key}, limit: ${draw.pick([1, 2, 100])}, after }))`;
  }
}

function strictPayload(draw: Draw): string {
  const n = draw.chance(0.5) ? "" : `n: ${draw.int(100)}, `;
  return `{ ${n}at: "2030-01-0${1 + draw.int(3)}T10:00:00Z" }`;
}

function lastLook(calls: number): Call[] {
  const looks = [
    ...STATES.map((state) => `pages((after) => jobs.list({ state: "${state}", limit: 25, after }))`),
    ...["unique", "plain", "mail", "strict", '"all"'].map(
      (of) => `keys((after) => jobs.keys({ of: ${of}, limit: 25, after }))`,
    ),
    ...["jobs.schedules.list()", "jobs.queues()", "jobs.stats()", "jobs.count()", "everyJob()"],
  ];
  return looks.map((code, i) => ({ step: calls + 1 + i, kind: "lastLook", code }));
}
