import { createHash } from "node:crypto";
import type { LimitKey, UniqueKey } from "../../job/key.ts";
import type { JobSpec } from "../../job/job.ts";
import { decodeText, encodeText } from "./text.ts";

/** What only some jobs have: one text in their row, and their keys as the hashes that the database compares. */
export interface Extra {
  readonly text: string;
  readonly keyId: string | null;
  readonly limitId: string | null;
  readonly concurrency: number | null;
}

type Extras = Pick<JobSpec, "unique" | "limit" | "trace" | "tickAt">;

/** `undefined` for most jobs. */
export function encodeExtra({ unique, limit, trace, tickAt }: Extras): Extra | undefined {
  if ((unique ?? limit ?? trace ?? tickAt) === undefined) return undefined;
  const stored = {
    ...(unique === undefined ? {} : { unique: { ...unique, ...encodedKey(unique) } }),
    ...(limit === undefined ? {} : { limit: { ...limit, ...encodedKey(limit) } }),
    ...(trace === undefined ? {} : { trace: encodeText(trace) }),
    ...(tickAt === undefined ? {} : { tickAt }),
  };
  return {
    text: JSON.stringify(stored),
    keyId: unique === undefined ? null : keyIdOf(unique),
    limitId: limit === undefined ? null : keyIdOf(limit),
    concurrency: limit === undefined ? null : limit.concurrency,
  };
}

export function decodeExtra(text: string): Extras {
  const { unique, limit, trace, tickAt } = JSON.parse(text) as {
    unique?: UniqueKey;
    limit?: LimitKey;
    trace?: string;
    tickAt?: number;
  };
  return {
    ...(unique === undefined ? {} : { unique: { ...unique, ...decodedKey(unique) } }),
    ...(limit === undefined ? {} : { limit: { ...limit, ...decodedKey(limit) } }),
    ...(trace === undefined ? {} : { trace: decodeText(trace) }),
    ...(tickAt === undefined ? {} : { tickAt }),
  };
}

/** Half a hash of scope and key, so that it means the same everywhere, as the SQL function `enqueue` makes it. */
export function keyIdOf(of: { readonly scope: string; readonly key: string }): string {
  const { scope, key } = encodedKey(of);
  const hash = createHash("sha256")
    .update(`${Buffer.byteLength(scope)}:${scope}${key}`)
    .digest("hex");
  return hash.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** In the database they are read out of the JSON, so they must be what its texts can hold. */
function encodedKey({ scope, key }: { readonly scope: string; readonly key: string }): {
  scope: string;
  key: string;
} {
  return { scope: encodeText(scope), key: encodeText(key) };
}

function decodedKey({ scope, key }: { readonly scope: string; readonly key: string }): {
  scope: string;
  key: string;
} {
  return { scope: decodeText(scope), key: decodeText(key) };
}
