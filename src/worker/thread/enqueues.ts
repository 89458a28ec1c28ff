import { InvalidOptionError, InvalidPayloadError, PayloadTooLargeError } from "../../errors.ts";
import type { AnyJobDefinition } from "../../job/definition.ts";
import { limits } from "../../job/limits.ts";
import { keyRules, keysAsOptions, laidOver, resolveKeys } from "../../job/key-options.ts";
import { type EnqueueOptions, SHARED } from "../../job/options.ts";
import { payloadText } from "../../job/payload.ts";
import { isUnchecked, validatePayload } from "../../job/validation.ts";
import { isAroundEnqueues } from "../../middleware.ts";
import type { EnqueuedJob, ThreadJobs } from "../context.ts";
import type { Link } from "./link.ts";
import type { ThreadItem } from "./messages.ts";

/**
 * Enqueues through the main thread. What a definition brings with it (its schema, its functions of the payload)
 * is asked here, where it is; the main thread, which may not know it, gets the answers.
 */
export function enqueuesBy(link: Link): ThreadJobs {
  return {
    enqueue: async (definition, payload, options) => {
      const item = await itemOf(definition, payload, options);
      const [enqueued] = await link.call({ kind: "enqueue", item }, item.payload.length);
      return enqueued as EnqueuedJob;
    },
    enqueueMany: async (definition, payloads, options) => {
      if (!Array.isArray(payloads)) {
        throw new InvalidOptionError("payloads", payloads, "Use an array of payloads.");
      }
      if (payloads.length > limits.enqueueJobs) {
        throw new InvalidOptionError(
          "enqueueMany",
          payloads.length,
          `Use at most ${limits.enqueueJobs} jobs a call.`,
        );
      }
      if (options !== undefined && "id" in options) {
        throw new InvalidOptionError("id", options.id, "One id cannot be for many jobs.");
      }
      const items: ThreadItem[] = [];
      let size = 0;
      let bytes = 0;
      for (const payload of payloads as unknown[]) {
        const item = await itemOf(definition, payload, options);
        items.push(item);
        size += item.payload.length;
        bytes += Buffer.byteLength(item.payload);
        if (bytes > limits.enqueueBytes)
          throw new PayloadTooLargeError("The batch", bytes, limits.enqueueBytes);
      }
      return items.length === 0 ? [] : [...(await link.call({ kind: "enqueueMany", items }, size))];
    },
  };
}

async function itemOf(
  definition: AnyJobDefinition | string,
  payload: unknown,
  options: EnqueueOptions | undefined,
): Promise<ThreadItem> {
  if (options !== undefined && (typeof options !== "object" || options === null)) {
    throw new InvalidOptionError("options", options, "Use an object, or leave it out.");
  }
  if (typeof definition === "string") {
    const text = payloadText(definition, payload === undefined ? null : payload);
    return { name: definition, byName: true, payload: text, options };
  }
  if (typeof definition?.schema?.["~standard"]?.validate !== "function") {
    throw new InvalidOptionError(
      "definition",
      definition,
      "Use what defineJob() returns, or the name of a definition.",
    );
  }
  if (isAroundEnqueues(definition.middleware)) {
    throw new InvalidOptionError(
      "definition",
      definition.name,
      "Its middleware stands in the main thread: enqueue it by its name, as the worker has it.",
    );
  }
  const input = payload === undefined && isUnchecked(definition) ? null : payload;
  const checked = await validatePayload(definition, input);
  if (!checked.ok) throw new InvalidPayloadError(definition.name, checked.issues);
  const text = payloadText(definition.name, input);
  return {
    name: definition.name,
    byName: false,
    payload: text,
    options: calledWith(definition, checked.payload, options, text),
  };
}

/** The definition's options and the call's as one call's: data, so that it can cross. */
function calledWith(
  definition: AnyJobDefinition,
  payload: unknown,
  call: EnqueueOptions | undefined,
  text: string,
): EnqueueOptions {
  const said = Object.fromEntries(Object.entries(call ?? {}).filter(([, value]) => value !== undefined));
  const defined = Object.entries(definition.options as Record<string, unknown>).flatMap(([key, value]) => {
    if (value === undefined || key in said || !SHARED.includes(key)) return [];
    return [[key, typeof value === "function" ? (value as (payload: unknown) => unknown)(payload) : value]];
  });
  const retention = { ...definition.options.retention, ...call?.retention };
  const { concurrencyKey: _short, ...others } = said;
  const rules = laidOver(keyRules(definition.options, true), keyRules(call ?? {}, false));
  return {
    ...Object.fromEntries(defined),
    ...others,
    ...keysAsOptions(resolveKeys(rules, definition.name, payload, text)),
    ...(Object.keys(retention).length > 0 ? { retention } : {}),
  };
}
