import type { JobId } from "../../job/job.ts";
import type { NewJob } from "../storage.ts";
import type { KeptJob } from "./kept-job.ts";

/** Kept jobs by the id their caller gave them: one for each name and given id. */
export class GivenIds {
  readonly #jobs = new Map<string, KeptJob>();

  get(name: string, givenId: string): KeptJob | undefined {
    return this.#jobs.get(keyOf(name, givenId));
  }

  has(spec: NewJob): boolean {
    return spec.givenId !== undefined && this.#jobs.has(keyOf(spec.name, spec.givenId));
  }

  add(job: KeptJob): void {
    this.#jobs.set(keyOf(job.spec.name, job.spec.givenId as string), job);
  }

  delete(job: KeptJob): void {
    this.#jobs.delete(keyOf(job.spec.name, job.spec.givenId as string));
  }

  /** The first job of a group whose given id belongs to another payload, in the store or in the group. */
  firstConflict(group: readonly NewJob[]): { readonly index: number; readonly existing: JobId } | undefined {
    let inGroup: Map<string, string> | undefined;
    for (let index = 0; index < group.length; index++) {
      const { name, givenId, payload } = group[index] as NewJob;
      if (givenId === undefined) continue;
      const key = keyOf(name, givenId);
      const kept = this.#jobs.get(key);
      if (kept !== undefined && kept.spec.payload !== payload) return { index, existing: kept.id };
      inGroup ??= new Map();
      const other = inGroup.get(key);
      // The other one is of this group, so it is not stored either and has no id.
      if (other !== undefined && other !== payload) return { index, existing: NO_JOB };
      inGroup.set(key, payload);
    }
    return undefined;
  }
}

/** Ids begin at 1. */
const NO_JOB: JobId = 0;

/** The length keeps a name and an id apart, whatever characters they hold. */
function keyOf(name: string, givenId: string): string {
  return `${name.length}:${name}${givenId}`;
}
