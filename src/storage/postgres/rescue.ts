import type { RescuedJob, RescueRequest } from "../storage.ts";
import { POLICY, readClaimed } from "./claim.ts";
import type { Store } from "./store.ts";
import { decodeText, encodeText } from "./text.ts";

/** Move leases of lost processes to the one that asks. */
export async function rescue(
  store: Store,
  { processId, token, limit }: RescueRequest,
): Promise<RescuedJob[]> {
  const statement = store.statement(
    "rescue",
    "select * from $s.rescue($1::text::float8, $2, $3, $4::text::int)",
  );
  const rows = await store.database.query(statement, [
    store.alive(),
    encodeText(processId),
    encodeText(token),
    limit,
  ]);
  const rescued = rows.map((row) => {
    const [lostProcessId, started, startedAt, queue, name, text] = row as RescueRow;
    const lane = { queue: decodeText(queue), name: decodeText(name) };
    return { lostProcessId: decodeText(lostProcessId), started, startedAt, lane, fields: text.split("\x1f") };
  });
  await store.policies.learn(rescued.map(({ fields }) => fields[POLICY] as string));
  return rescued.map(({ lostProcessId, started, startedAt, lane, fields }) => ({
    ...readClaimed(fields, [lane], token, store.policies),
    lostProcessId,
    started: started === "t",
    startedAt: Number(startedAt),
  }));
}

type RescueRow = readonly [
  lostProcessId: string,
  started: string,
  startedAt: string,
  queue: string,
  name: string,
  text: string,
];
