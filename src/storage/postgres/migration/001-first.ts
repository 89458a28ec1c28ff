import { beat } from "./001-first/beat.ts";
import { claim } from "./001-first/claim.ts";
import { days } from "./001-first/days.ts";
import { enqueue } from "./001-first/enqueue.ts";
import { heads } from "./001-first/heads.ts";
import { lock } from "./001-first/lock.ts";
import { look } from "./001-first/look.ts";
import { pages } from "./001-first/pages.ts";
import { settle } from "./001-first/settle.ts";
import { sql } from "./001-first/sql.ts";
import { steer } from "./001-first/steer.ts";
import { tables } from "./001-first/tables.ts";
import { upkeep } from "./001-first/upkeep.ts";
import { frozen } from "./frozen.ts";
import type { Migration } from "./migration.ts";

/** Jobs, lanes, leases: everything but keys, schedules, statistics and logs. */
export const first: Migration = {
  version: 1,
  name: "first",
  sql: frozen(tables, enqueue, claim, settle, beat, upkeep, days, lock, heads, steer, sql, look, pages),
};
