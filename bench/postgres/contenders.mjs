/**
 * Everybody in the run, in the order of the columns. `peer`: one that ours is compared with. `bulk`: jobs a
 * call of its bulk API, where that was fastest here. `polls`: it looks for work by the clock alone, and
 * waiting for it is most of a smoke. `keeps`: what is left of a finished job.
 */
export const CONTENDERS = [
  {
    key: "ours",
    title: "jobwright",
    file: "jobwright.mjs",
    bulk: 5_000,
    keeps: "keeps finished jobs, fenced",
  },
  {
    key: "graphile",
    title: "graphile-worker",
    file: "graphile-worker.mjs",
    bulk: 5_000,
    peer: "graphile-worker",
    keeps: "deletes finished jobs",
  },
  {
    key: "graphile-tuned",
    title: "graphile-worker, tuned",
    file: "graphile-worker.mjs",
    tuned: true,
    bulk: 5_000,
    peer: "graphile-worker",
    keeps: "as above, and up to 500 jobs locked for 4 h when a process dies",
  },
  {
    key: "boss",
    title: "pg-boss",
    file: "pg-boss.mjs",
    polls: true,
    bulk: 5_000,
    peer: "pg-boss",
    keeps: "keeps finished jobs",
  },
  {
    key: "boss-tuned",
    title: "pg-boss, tuned",
    file: "pg-boss.mjs",
    tuned: true,
    bulk: 5_000,
    peer: "pg-boss",
    keeps: "as above; a batch ends as a whole",
  },
  {
    key: "floor",
    title: "bare pg",
    file: "floor.mjs",
    bulk: 5_000,
    keeps: "deletes finished jobs, no rules",
  },
];
