import { type JobError, JOB_STATES } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type { Later } from "../../job/outcome.ts";
import type { StoredJob } from "../../storage/storage.ts";
import { wireLimits } from "../limits.ts";
import { anyNumber, eitherField, integer, list, type ListShape, number, oneOf } from "../shape.ts";
import { record, type Shape, text } from "../shape.ts";

/** What all sections of the contract are made of: names, texts, numbers and errors. */

export const name: Shape<string> = text(limits.nameLength);
export const token: Shape<string> = text(wireLimits.tokenLength);
export const json: Shape<string> = text(wireLimits.jsonLength);
export const reason: Shape<string> = text(wireLimits.reasonLength);
export const id: Shape<number> = integer(0);
export const counter: Shape<number> = integer(0);
/** Epoch ms, by the storage's clock. Clocks may be set to before 1970. */
export const instant: Shape<number> = number(-limits.instantMax, Number.MAX_SAFE_INTEGER);
export const ms: Shape<number> = number(0, Number.MAX_SAFE_INTEGER);
export const priority: Shape<number> = integer(limits.priorityMin, limits.priorityMax);
export const state: Shape<StoredJob["state"]> = oneOf(...JOB_STATES);
/** How far a job is, as JSON. */
export const progress: Shape<string> = text(limits.progressText);

export const later: Shape<Later> = eitherField(
  "at",
  record<{ readonly at: number }>({ needs: { at: number() }, may: {} }),
  record<{ readonly delayMs: number }>({ needs: { delayMs: number() }, may: {} }),
);

const errorText: Shape<string> = text(wireLimits.errorLength);
export const jobError: Shape<JobError> = record({
  needs: { name: errorText, message: errorText },
  may: {
    stack: errorText,
    code: errorText,
    // Bounded by the depth of a frame.
    cause: { out: (value) => jobError.out(value), in: (value) => jobError.in(value) },
  },
});

/** An id that may be none: the storage judges it. */
export const jobId: Shape<number> = anyNumber;
export const ids: ListShape<number> = list(anyNumber, wireLimits.entries);
/** How much of something, at most. */
export const limit: Shape<number> = integer(0, wireLimits.entries);
