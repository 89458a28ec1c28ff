import assert from "node:assert/strict";
import * as fc from "fast-check";
import { limits } from "../../../src/job/limits.ts";
import type { Lease, Note, ProcessBeat } from "../../../src/storage/storage.ts";
import { byId, same } from "../compare.ts";
import type { Pair } from "../pair.ts";
import { type Kind, kind } from "./command.ts";
import {
  heldBy,
  index,
  leasePick,
  NAMES,
  pickLease,
  processOf,
  processPick,
  slot,
  sometimes,
} from "./draft.ts";

// Never a sum of liveness steps: whether the last millisecond still counts as life is nobody's business.
export const LOST_AFTER_MS: readonly number[] = [25_000, 25_000, 40_000];
const LIVENESS_STEP_MS = 9_001;

const mask: fc.Arbitrary<number> = fc.nat({ max: 7 });

export const processKinds: readonly Kind[] = [
  kind("register", 24, slot, async (pair, at) => {
    // Repeating the registration of a live process is harmless; a lost one comes back with a new id.
    if (!pair.model.isAlive(pair.slots[at] as string)) pair.slots[at] = `p${at}.${pair.unique()}`;
    await register(pair, pair.slots[at] as string, LOST_AFTER_MS[at]);
  }),
  kind(
    "beat",
    24,
    fc.record({ by: processPick, starts: mask, olds: mask }),
    async (pair, { by, starts, olds }) => {
      const id = processOf(pair, by);
      const at = pair.slots.indexOf(id);
      const held = heldBy(pair, id).map(({ lease }) => lease);
      const former = pair.leases.filter((known) => known.processId === id).map(({ lease }) => lease);
      await beat(pair, {
        ...facts(id, LOST_AFTER_MS[at]),
        holds: [
          ...held,
          ...former.filter((lease, n) => !held.includes(lease) && (olds >> (n % 3)) % 2 === 1),
        ],
        starts: held.filter((_, n) => (starts >> (n % 3)) % 2 === 1),
      });
    },
  ),
  kind("leave", 8, processPick, async (pair, by) => leave(pair, processOf(pair, by))),
  // Time of life goes on, and all beat meanwhile but one or two.
  kind(
    "silence",
    28,
    fc.record({ steps: fc.constantFrom(1, 3, 3, 5), silent: fc.constantFrom(1, 2, 4, 4, 3) }),
    async (pair, { steps, silent }) => {
      for (let step = 0; step < steps; step++) {
        pair.model.live += LIVENESS_STEP_MS;
        for (const [at, id] of pair.slots.entries()) {
          if ((silent >> at) % 2 === 1 || !pair.model.isAlive(id)) continue;
          const holds = heldBy(pair, id).map(({ lease }) => lease);
          await beat(pair, { ...facts(id, LOST_AFTER_MS[at]), holds, starts: [] });
        }
      }
    },
  ),
  kind(
    "note",
    36,
    fc.record({
      lease: fc.oneof(fc.record({ which: fc.constant("current" as const), index }), leasePick),
      checkpoint: sometimes(
        8,
        fc.dictionary(fc.constantFrom("k", "l"), fc.constantFrom("1", '"two"', null), { minKeys: 1 }),
      ),
      result: sometimes(4, fc.constantFrom("7", "[8]")),
      progress: sometimes(3, fc.constantFrom("0.5", '{"page":3}')),
      lines: fc.constantFrom(0, 0, 1, 3, limits.logLines + 2),
    }),
    async (pair, { lease: drawn, checkpoint, result, progress, lines }) => {
      const at = pair.model.now;
      const log = Array.from({ length: lines }, () => ({
        at,
        level: "info" as const,
        text: `${pair.unique()}`,
      }));
      await note(pair, pickLease(pair, drawn), {
        ...(checkpoint === undefined ? {} : { checkpoint: { ...checkpoint } }),
        ...(result === undefined ? {} : { result }),
        ...(progress === undefined ? {} : { progress }),
        ...(lines === 0 ? {} : { log }),
      });
    },
  ),
];

export async function note(pair: Pair, lease: Lease, what: Note): Promise<void> {
  const expected = pair.model.note(lease, what);
  const answer = await pair.storage.note(pair.realLease(lease), what);
  assert.equal(answer, expected, `answer to a note of job ${lease.id}`);
  pair.coverage.see(`note: ${expected}`);
  const number = pair.model.find(lease.id)?.logs.at(-1)?.number ?? 0;
  pair.coverage.see("note: old log lines dropped", expected === "saved" && number > limits.logLines);
}

export async function register(pair: Pair, id: string, lostAfterMs?: number): Promise<void> {
  const holds = heldBy(pair, id).map(({ lease }) => lease);
  await beat(pair, { ...facts(id, lostAfterMs), holds, starts: [], first: true });
}

export async function leave(pair: Pair, id: string): Promise<void> {
  const holds = heldBy(pair, id).map(({ lease }) => lease);
  await beat(pair, { ...facts(id), holds, starts: [], leaving: true });
}

async function beat(pair: Pair, beatOf: ProcessBeat): Promise<void> {
  const { model, coverage } = pair;
  // A lost process that beats learns that it is lost. What else it says has no defined effect, so it says nothing.
  const isAlive = beatOf.first === true || model.isAlive(beatOf.id);
  const sent = isAlive ? beatOf : { ...beatOf, starts: [] };
  const toReal = (lease: Lease): Lease => pair.realLease(lease);
  const answer = await pair.storage.beat({
    ...sent,
    holds: sent.holds.map(toReal),
    starts: sent.starts.map(toReal),
  });
  const expected = model.beat(sent);
  if (!expected.known) {
    coverage.see("beat: process not known");
    return assert.equal(answer.known, false, `Process ${beatOf.id} is not known.`);
  }
  const lost = byId(answer.lost.map((lease) => pair.fromReal(lease)));
  coverage.see("beat: lease lost", lost.length > 0);
  coverage.see("beat: ask delivered", answer.asks.length > 0);
  same(lost, byId(expected.lost), `leases that process ${beatOf.id} lost`);
  // Who leaves has no use for the rest of the answer.
  if (beatOf.leaving === true) return;
  const asks = byId(answer.asks.map((one) => pair.fromReal(one)));
  same(
    { known: answer.known, asks },
    { known: true, asks: byId(expected.asks) },
    `answer to a beat of ${beatOf.id}`,
  );
}

function facts(id: string, lostAfterMs: number = 25_000): Omit<ProcessBeat, "holds" | "starts"> {
  const queues = [{ queue: "q", names: [...NAMES], concurrency: 2 }];
  const declares = id.startsWith("p1") ? { declares: ["s1"] } : {};
  // It runs on another machine, as a job server sees it: nothing but its beats tells that it lives.
  return { id, host: "elsewhere", pid: 1, lostAfterMs, queues, ...declares };
}
