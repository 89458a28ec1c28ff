// pg-boss as it comes (one job every two seconds), and tuned with what its documentation offers for
// throughput: batches of 500, fetching on while batches are full, several pollers, LISTEN/NOTIFY for
// wake-ups. Finished jobs are kept for a week.
import { PgBoss } from "pg-boss";

const QUEUE = "bench";
const TUNED = { batchSize: 500, burstWhenBatchFull: true, localConcurrency: 2, pollingIntervalSeconds: 0.5 };

export function create({ tuned }) {
  let boss;
  const made = (url) => {
    const one = new PgBoss({ connectionString: url, ...(tuned ? { useListenNotify: true } : {}) });
    // Without a listener an error of its upkeep would end the process; the measures show what matters.
    one.on("error", (error) => console.error(error));
    return one;
  };

  return {
    async install(url) {
      const installer = made(url);
      await installer.start();
      await installer.createQueue(QUEUE, tuned ? { notify: true } : {});
      await installer.stop({ graceful: false });
    },
    async open(url) {
      boss = made(url);
      await boss.start();
    },
    one: (payload) => boss.send(QUEUE, payload),
    bulk: (payloads) =>
      boss.insert(
        QUEUE,
        payloads.map((data) => ({ data })),
      ),
    async work(onRun) {
      const handler = async (jobs) => {
        for (const { data } of jobs) onRun(data);
      };
      await (tuned ? boss.work(QUEUE, TUNED, handler) : boss.work(QUEUE, handler));
      return () => boss.offWork(QUEUE, { wait: true });
    },
    async unfinished() {
      const { rows } = await boss
        .getDb()
        .executeSql(
          `select exists (select from pgboss.job where name = '${QUEUE}' and state < 'completed') as some`,
        );
      return rows[0].some;
    },
    close: () => boss.stop({ graceful: false }),
  };
}
