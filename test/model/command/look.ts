import assert from "node:assert/strict";
import * as fc from "fast-check";
import { JOB_STATES } from "../../../src/job/job.ts";
import type { StoredJob } from "../../../src/storage/storage.ts";
import { inOrder, same } from "../compare.ts";
import { counted, listed, storedJob } from "../look.ts";
import { type Kind, kind } from "./command.ts";
import { index, name, pickIds, queue, sometimes, TAGS } from "./draft.ts";

/** Pages after which a listing surely goes round in circles. */
const PAGES_MAX = 1_000;

export const lookKinds: readonly Kind[] = [
  kind(
    "list",
    20,
    fc.record({
      state: fc.constantFrom(...JOB_STATES, "available" as const, "completed" as const),
      queue: sometimes(4, queue),
      name: sometimes(4, name),
      tag: sometimes(4, fc.constantFrom(...TAGS)),
      limit: fc.integer({ min: 1, max: 4 }),
    }),
    async (pair, { state, limit, ...filters }) => {
      const given = Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined));
      const query = { state, ...given };
      const jobs: StoredJob[] = [];
      let after: string | undefined;
      let pages = 0;
      do {
        const page = await pair.storage.list({ ...query, limit, ...(after === undefined ? {} : { after }) });
        assert.ok(page.jobs.length <= limit, `A page of ${limit} holds ${page.jobs.length} jobs.`);
        jobs.push(...page.jobs.map((job) => pair.fromReal(job)));
        after = page.next;
        pages += 1;
        assert.ok(pages < PAGES_MAX, "A listing comes to its end.");
      } while (after !== undefined);
      same(inOrder(jobs), listed(pair.model, query).map(storedJob), `all pages of ${JSON.stringify(query)}`);
      pair.coverage.see("list: several pages", jobs.length > limit);
      pair.coverage.see("list: filtered", Object.keys(given).length > 0 && jobs.length > 0);
    },
  ),
  kind(
    "count",
    8,
    fc.record({
      state: sometimes(5, fc.constantFrom(...JOB_STATES)),
      queue: sometimes(4, queue),
      name: sometimes(4, name),
    }),
    async (pair, drawn) => {
      const query = Object.fromEntries(Object.entries(drawn).filter(([, value]) => value !== undefined));
      const expected = { n: counted(pair.model, query), exact: true };
      same(await pair.storage.count(query), expected, `count of ${JSON.stringify(query)}`);
    },
  ),
  kind("get", 8, fc.array(index, { maxLength: 6 }), async (pair, indexes) => {
    const ids = pickIds(pair, indexes, () => true);
    const jobs = await pair.storage.get(ids.map((id) => pair.real(id)));
    const named = jobs.map((job) => (job === undefined ? undefined : pair.fromReal(job)));
    const expected = ids.map((id) => pair.model.find(id)).map((job) => job && storedJob(job));
    same(named, expected, `get() of ${ids.join()}`);
  }),
];
