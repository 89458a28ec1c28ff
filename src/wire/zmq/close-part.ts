import { zmqLimits } from "./limits.ts";

/** An empty part ends a connection, which ZeroMQ does not show by itself; the part after it says why. */
export function closeParts(reason: string): Uint8Array[] {
  return [EMPTY, Buffer.from(reason.slice(0, zmqLimits.reasonLength))];
}

/** The answer to it. */
export const EMPTY: Uint8Array = Buffer.alloc(0);

/** What the other side said at its end. */
export function reasonOf(part: Uint8Array | undefined): string {
  if (part === undefined || part.length === 0) return "the connection was closed";
  return Buffer.from(part.subarray(0, 4 * zmqLimits.reasonLength))
    .toString()
    .replaceAll(/\p{Cc}+/gu, " ")
    .slice(0, zmqLimits.reasonLength);
}
