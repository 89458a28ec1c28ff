import { StateError } from "../errors.ts";
import type { ClaimedJob, ProcessBeat, Settlement, Storage, StoredJob } from "../storage/storage.ts";

/** What {@link spendAttempts} writes as the failure of an attempt that was never made. */
const MADE_UP = { name: "Error", message: "An earlier attempt, made up by perform()." } as const;

/** Who seems to have run the job before. Alive for as long as a test takes. */
const EARLIER: ProcessBeat = {
  id: "earlier",
  host: "perform",
  pid: process.pid,
  lostAfterMs: 86_400_000,
  queues: [],
  holds: [],
  starts: [],
};

/**
 * Bring a waiting job to where earlier runs would have brought it, through the calls that a worker makes: so many
 * attempts have failed, and these checkpoint entries (JSON text by key) were saved. It is due again at once.
 */
export async function runEarlier(
  storage: Storage,
  job: StoredJob,
  before: { readonly attempts: number; readonly checkpoint: Readonly<Record<string, string>> },
): Promise<void> {
  const savesAny = Object.keys(before.checkpoint).length > 0;
  if (before.attempts === 0 && !savesAny) return;
  await storage.beat({ ...EARLIER, first: true });
  for (let n = 0; n < Math.max(1, before.attempts); n += 1) {
    const claimed = await claim(storage, job, n);
    const { id, generation, token } = claimed;
    const lease = { id, generation, token };
    if (n === 0 && savesAny) await storage.note(lease, { checkpoint: before.checkpoint });
    const outcome: Settlement["outcome"] =
      before.attempts === 0
        ? { state: "available", marked: false }
        : { state: "scheduled", later: { delayMs: 0 }, attempt: "spent", error: MADE_UP };
    await storage.settle([{ lease, outcome, startedAt: claimed.runAt }]);
  }
  await storage.beat({ ...EARLIER, leaving: true });
}

async function claim(storage: Storage, job: StoredJob, n: number): Promise<ClaimedJob> {
  await storage.promote(1);
  const { jobs } = await storage.claim({
    processId: EARLIER.id,
    token: `${EARLIER.id}.${n + 1}`,
    queues: [{ queue: job.queue, names: [job.name], room: 1, readAhead: 0 }],
    starts: [],
  });
  const [claimed] = jobs;
  if (claimed === undefined) {
    throw new StateError(
      `Job ${job.id} does not become available: perform it without \`attempt\` and \`checkpoint\`.`,
    );
  }
  return claimed;
}
