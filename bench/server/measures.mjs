// What is measured through the job server and on the storage itself: the measures of ../postgres, which ask
// nothing of the engine, and a round trip. `aim`: of the rate of the storage used directly, and jobs a second
// where the aim has a number of its own.
import { MEASURES as COMMON } from "../postgres/measures.mjs";

const DRAIN = { share: 0.6 };

export const MEASURES = [
  { key: "round-trip", title: "round trip, a count", isTime: true, measure: roundTrip },
  common("latency"),
  common("one"),
  common("concurrent"),
  common("bulk-1000"),
  common("drain-1", { isDrain: true, aim: { postgres: DRAIN, lmdb: DRAIN } }),
  common("drain-4", { isDrain: true, aim: { postgres: DRAIN, lmdb: { ...DRAIN, rate: 20_000 } } }),
];

function common(key, { isDrain = false, aim = {} } = {}) {
  const { title, isTime = false, ownDatabase = false, measure } = COMMON.find((one) => one.key === key);
  return { key, title, isTime, ownDatabase, isDrain, aim, measure };
}

async function roundTrip({ clients, url, sizes }) {
  const [client] = clients;
  await client.do("open", url);
  await client.do("look", { looks: 50, ms: 500 });
  const found = await client.do("look", { looks: sizes.looks, ms: sizes.limitMs });
  await client.do("close");
  return found;
}
