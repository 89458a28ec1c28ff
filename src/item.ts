import { InvalidOptionError } from "./errors.ts";
import type { AnyJobDefinition, InputOf } from "./job/definition.ts";
import type { EnqueueOptions } from "./job/options.ts";

/** One job of a mixed batch; made with {@link item} so that the payload's type is checked. */
export interface EnqueueItem {
  readonly definition: AnyJobDefinition;
  readonly payload: unknown;
  readonly options?: EnqueueOptions;
}

/** One job for `enqueueMany`. */
export function item<D extends AnyJobDefinition>(
  definition: D,
  payload: InputOf<D>,
  options?: EnqueueOptions,
): EnqueueItem {
  return { definition, payload, ...(options === undefined ? {} : { options }) };
}

/** The items of an `enqueueMany`, however it was called. */
export function itemsOf(
  first: AnyJobDefinition | readonly EnqueueItem[],
  payloads: readonly unknown[] | undefined,
  options: EnqueueOptions | undefined,
): readonly EnqueueItem[] {
  if (Array.isArray(first)) return first as readonly EnqueueItem[];
  if (!Array.isArray(payloads)) {
    throw new InvalidOptionError("payloads", payloads, "Use an array of payloads, or an array of item(…).");
  }
  if (options !== undefined && (typeof options !== "object" || options === null)) {
    throw new InvalidOptionError("options", options, "Use an object, or leave it out.");
  }
  if (options !== undefined && "id" in options) {
    throw new InvalidOptionError(
      "id",
      options.id,
      "One id cannot be for many jobs: use item(definition, payload, { id }).",
    );
  }
  const definition = first as AnyJobDefinition;
  return payloads.map((payload) => ({ definition, payload, ...(options === undefined ? {} : { options }) }));
}
