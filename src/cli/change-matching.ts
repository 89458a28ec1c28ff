import type { JobFilter } from "../filter.ts";
import type { Jobs } from "../jobs.ts";

/** Jobs changed at once: as many as one call to the storage takes. */
const PAGE = 500;
/** With a tag nobody keeps count: so many pages are looked through for a preview. */
const PREVIEW_PAGES_MAX = 200;

/** How many jobs a filter finds. */
export async function countMatching(jobs: Jobs, filter: JobFilter): Promise<{ n: number; exact: boolean }> {
  const { tag, ...rest } = filter;
  if (tag === undefined) return jobs.count(rest);
  let n = 0;
  let after: string | undefined;
  for (let page = 0; page < PREVIEW_PAGES_MAX; page += 1) {
    const found = await jobs.list({ ...filter, limit: PAGE, ...(after === undefined ? {} : { after }) });
    n += found.jobs.length;
    after = found.next;
    if (after === undefined) return { n, exact: true };
  }
  return { n, exact: false };
}

/**
 * Change every job that a filter finds, page by page. Jobs enqueued since it began are left alone, so that it
 * ends however fast others enqueue.
 */
export async function changeMatching(
  jobs: Jobs,
  filter: JobFilter,
  change: (id: string) => Promise<{ readonly done: boolean }>,
): Promise<{ matching: number; changed: number }> {
  const began = jobs.clock.now();
  // In the order of their numbers or places: behind a page of new ones there are only newer ones.
  const isByAge = filter.state === "available" || filter.state === "running";
  let matching = 0;
  let changed = 0;
  for (let after: string | undefined; ;) {
    const { jobs: found, next } = await jobs.list({
      ...filter,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    const old = found.filter(({ createdAt }) => createdAt.getTime() <= began);
    const results = await Promise.all(old.map(({ id }) => change(id)));
    matching += old.length;
    changed += results.filter(({ done }) => done).length;
    if (next === undefined || (isByAge && found.length > 0 && old.length === 0)) return { matching, changed };
    after = next;
  }
}
