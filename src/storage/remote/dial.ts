import { InvalidOptionError } from "../../errors.ts";
import type { Channel } from "../../wire/channel.ts";

/** Makes a connection to a server; one that does not come about rejects. */
export interface Dial {
  /** Where it leads, without secrets. */
  readonly label: string;
  /** A token for the hello, where the transport has no other place for it. */
  readonly token?: string;
  /** Whatever must be there before anything is tried. */
  prepare?(): Promise<void>;
  /** @param signal fires when nobody wants the connection any more */
  connect(timeoutMs: number, signal?: AbortSignal): Promise<Channel>;
}

/** A part of a URL as it was before it was encoded. Not shown in errors: it is a secret as a rule. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new InvalidOptionError(
      "url",
      "a secret that cannot be read",
      "Write special characters with encodeURIComponent().",
    );
  }
}
