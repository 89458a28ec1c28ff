import type { BeatResult, ProcessBeat } from "../storage.ts";
import type { Row } from "./database.ts";
import { type Claims, placeholders, readAsks, startParameters } from "./claim.ts";
import { leaseParameters, type Store, textArray } from "./store.ts";
import { encodeText } from "./text.ts";

const BEAT_CASTS =
  "float8,float8,text,text,text,int,float8,text,boolean,boolean,boolean," +
  "bigint[],int[],text[],int[],int[],bigint[],int[],text[],int[],int[],text[],text";

/** Show that a process lives. */
export async function beat(store: Store, claims: Claims, of: ProcessBeat): Promise<BeatResult> {
  const { id, name, host, pid, lostAfterMs, queues, holds, starts, first = false, leaving = false } = of;
  const done = store.leases.takeDone();
  const values = [
    store.now(),
    store.alive(),
    encodeText(id),
    name === undefined ? null : encodeText(name),
    encodeText(host),
    pid,
    lostAfterMs,
    JSON.stringify(
      queues.map((one) => ({ ...one, queue: encodeText(one.queue), names: one.names.map(encodeText) })),
    ),
    first,
    leaving,
    claims.waits(id),
    ...startParameters(starts, store),
    ...(holds.length === 0 ? [null, null, null, null, null] : leaseParameters(holds, store.leases)),
    done.length === 0 ? null : textArray(done),
    of.declares === undefined ? null : JSON.stringify(of.declares),
  ];
  const statement = store.statement("beat", `select $s.beat(${placeholders(BEAT_CASTS, 1)})`);
  try {
    const [row] = await store.database.query(statement, values, {
      on: "claims",
      deadlineMs: store.promptMs,
    });
    const [known, asks, standing] = ((row as Row)[0] as string).split("\x1f") as [string, string, string];
    const stands = new Set(standing === "" ? [] : standing.split(",").map(Number));
    if (leaving || known === "0") claims.forget(id);
    return {
      known: known === "1",
      lost: holds.filter((_lease, index) => !stands.has(index + 1)),
      asks: readAsks(asks),
    };
  } catch (error) {
    store.leases.putBackDone(done);
    throw error;
  }
}
