import { describe, it } from "vitest";
import { seed, size } from "../support/size.ts";
import { engines, type StorageKind } from "../support/storages.ts";
import { throughServers } from "../support/through-server.ts";
import { expectCovered } from "./coverage.ts";
import { type Recording, replay } from "./replay.ts";
import { makeScript } from "./script.ts";
import { differenceIn, expectNone } from "./difference.ts";

// Goal: the URL is all that changes. Random scripts of public calls, bad ones among them, get the same answers,
// states, orders and errors on every storage, call by call; those of memory are the measure.
// Method: calls are made one after the other on a clock that stands still between them, and workers run one job at a
// time, so that an answer depends on the calls before it alone. `JOBWRIGHT_SEED` repeats a run.

const SCRIPTS = size(25, 500);
const CALLS = 80;
/** A script that fails is made shorter, which takes a while. */
const FAILURES_SHOWN = 3;
const first = seed(`${SCRIPTS} scripts of public calls`);

const [memory, lmdb, postgres] = engines as [StorageKind, StorageKind, StorageKind];
const [overMemory, overLmdb] = throughServers([memory, lmdb]) as [StorageKind, StorageKind];

const recorded = new Map<number, Promise<Recording>>();
function onMemory(n: number): Promise<Recording> {
  const known = recorded.get(n) ?? replay(memory, makeScript(first + n, CALLS));
  recorded.set(n, known);
  return known;
}

describe(`${SCRIPTS} scripts of ${CALLS} public calls`, () => {
  it.each([
    { label: "LMDB", kindOf: () => lmdb },
    { label: "PostgreSQL", kindOf: () => postgres },
    { label: "a job server", kindOf: (n: number) => (n % 2 === 0 ? overMemory : overLmdb) },
  ])("get the answers of memory on $label", async ({ kindOf }) => {
    const found: string[] = [];
    for (let n = 0; n < SCRIPTS && found.length < FAILURES_SHOWN; n += 1) {
      const difference = await differenceIn(
        makeScript(first + n, CALLS),
        memory,
        kindOf(n),
        await onMemory(n),
      );
      if (difference !== undefined) found.push(`script ${n} of seed ${first}:\n${difference}`);
    }
    expectNone(found);
  });

  it("meet every kind of call and of answer, and no error that is not ours", async () => {
    const kinds: string[] = [];
    for (let n = 0; n < SCRIPTS; n += 1) kinds.push(...(await onMemory(n)).kinds);
    const calls = Array.from({ length: SCRIPTS }, (_, n) => makeScript(first + n, CALLS)).flat();
    expectCovered(calls, kinds);
  });
});
