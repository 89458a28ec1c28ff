import { inspect } from "node:util";
import type { JobError } from "./job.ts";
import { limits } from "./limits.ts";

/**
 * Whatever was thrown, reduced to data. It never throws itself and its texts, causes included, are together
 * no longer than `limits.errorTextLength`.
 */
export function serializeError(thrown: unknown): JobError {
  const chain = chainOf(thrown);
  let room = limits.errorTextLength;
  const cut: { name: string; message: string; code?: string; stack?: string }[] = [];
  for (const [index, raw] of chain.entries()) {
    const name = shorten(raw.name, NAME_LENGTH);
    const message = shorten(raw.message, index === 0 ? MESSAGE_LENGTH : CAUSE_MESSAGE_LENGTH);
    const code = raw.code === undefined ? undefined : shorten(raw.code, NAME_LENGTH);
    room -= name.length + message.length + (code?.length ?? 0);
    cut.push(code === undefined ? { name, message } : { name, message, code });
  }
  // Stacks share what is left; the outermost error, where people look first, gets half of it.
  for (const [index, raw] of chain.entries()) {
    const entry = cut[index];
    if (entry === undefined || raw.stack === undefined) continue;
    const isLast = index === chain.length - 1;
    const stack = shorten(raw.stack, isLast ? room : Math.floor(room / 2));
    room -= stack.length;
    if (stack.length > 0) entry.stack = stack;
  }
  return cut.reduceRight<JobError | undefined>(
    (cause, entry) => (cause === undefined ? entry : { ...entry, cause }),
    undefined,
  ) as JobError;
}

/** An `Error` again, to be the `cause` of a `JobFailedError`. Its class is gone; its texts are as stored. */
export function errorFromJob(error: JobError, causes: number = limits.errorCauses): Error {
  const hasCause = error.cause !== undefined && causes > 0;
  const rebuilt = new Error(
    error.message,
    hasCause ? { cause: errorFromJob(error.cause as JobError, causes - 1) } : undefined,
  );
  // As on a real error: there, but not listed.
  const hidden = (value: string): PropertyDescriptor => ({ value, configurable: true, writable: true });
  Object.defineProperty(rebuilt, "name", hidden(error.name));
  Object.defineProperty(rebuilt, "stack", hidden(error.stack ?? `${error.name}: ${error.message}`));
  if (error.code !== undefined) Object.assign(rebuilt, { code: error.code });
  return rebuilt;
}

/** Name and code of one error, each. */
const NAME_LENGTH = 200;
/** Message of the outermost error: half of the whole, so that a stack has room beside it. */
const MESSAGE_LENGTH = limits.errorTextLength / 2;
/** Message of each cause, and of any error within its stack. */
const CAUSE_MESSAGE_LENGTH = 800;
/** Members of an `AggregateError` named in its message, and the length of each. */
const MEMBERS = 5;
const MEMBER_LENGTH = 200;

interface RawError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
}

/** The error and its causes, outermost first; ends at a cycle and after `limits.errorCauses` causes. */
function chainOf(thrown: unknown): RawError[] {
  const chain: RawError[] = [];
  const seen = new Set<unknown>();
  let current = thrown;
  do {
    seen.add(current);
    chain.push(rawError(current));
    current = read(current, "cause");
  } while (
    current !== undefined &&
    current !== null &&
    !seen.has(current) &&
    chain.length <= limits.errorCauses
  );
  return chain;
}

function rawError(thrown: unknown): RawError {
  const message = read(thrown, "message");
  // By shape and not by class: errors of other realms, and of libraries that imitate them, count too.
  if (typeof message !== "string" && typeof read(thrown, "stack") !== "string") {
    return { name: "Error", message: describe(thrown) };
  }
  const name = read(thrown, "name");
  const stack = read(thrown, "stack");
  const code = read(thrown, "code");
  const members = membersText(read(thrown, "errors"));
  return {
    name: typeof name === "string" && name !== "" ? name : "Error",
    message: (typeof message === "string" ? message : "") + members,
    ...(typeof stack === "string" ? { stack: withShortMessage(stack, message) } : {}),
    ...(typeof code === "string" || typeof code === "number" ? { code: String(code) } : {}),
  };
}

/** Reads a property of anything: getters and proxies may throw, and that must not hide the failure itself. */
function read(from: unknown, key: string): unknown {
  if ((typeof from !== "object" && typeof from !== "function") || from === null) return undefined;
  try {
    return (from as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** What an `AggregateError` holds: the message of the whole says nothing by itself. */
function membersText(members: unknown): string {
  try {
    if (!Array.isArray(members) || members.length === 0) return "";
    const texts = members.slice(0, MEMBERS).map((member) => {
      const { name, message } = rawMember(member);
      return shorten(`${name}: ${message}`, MEMBER_LENGTH);
    });
    const more = members.length > MEMBERS ? `; and ${members.length - MEMBERS} more` : "";
    return ` (${texts.join("; ")}${more})`;
  } catch {
    return "";
  }
}

/** A member without its own members: aggregates may nest, also in themselves. */
function rawMember(member: unknown): { name: string; message: string } {
  const name = read(member, "name");
  const message = read(member, "message");
  return {
    name: typeof name === "string" && name !== "" ? name : "Error",
    message: typeof message === "string" ? message : describe(member),
  };
}

/** What was thrown when it is no error. */
function describe(thrown: unknown): string {
  if (typeof thrown === "string") return thrown;
  try {
    const text = inspect(thrown, {
      depth: 2,
      maxArrayLength: 20,
      maxStringLength: 1_000,
      breakLength: Number.POSITIVE_INFINITY,
      customInspect: false,
    });
    return `${text} was thrown. Throw an Error to keep a stack.`;
  } catch {
    return "Something unreadable was thrown.";
  }
}

/** A stack begins with the message again: a long one would leave no room for the frames. */
function withShortMessage(stack: string, message: unknown): string {
  return typeof message === "string" && message.length > CAUSE_MESSAGE_LENGTH
    ? stack.replace(message, () => shorten(message, CAUSE_MESSAGE_LENGTH))
    : stack;
}

function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  if (length < 1) return "";
  const last = text.charCodeAt(length - 2);
  // No half of a surrogate pair at the cut.
  const end = last >= 0xd800 && last <= 0xdbff ? length - 2 : length - 1;
  return `${text.slice(0, Math.max(0, end))}…`;
}
