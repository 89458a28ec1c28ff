import { JobHandle } from "../../src/handle.ts";
import { JobwrightError } from "../../src/index.ts";

/**
 * Makes of an answer a text that another storage's can be compared with. What is inherently different gets a name
 * instead: a job id is "#3" when it is the third one that the script has met (storages may leave numbers out, so the
 * third job need not be 3), and process ids and stacks are left out. Instants are told as ms from the start.
 */
export class Answers {
  readonly #start: number;
  readonly #ids = new Map<string, string>();
  /** What kinds of answers there were, for the coverage. */
  readonly kinds: string[] = [];

  constructor(start: number) {
    this.#start = start;
  }

  value(value: unknown): string {
    return JSON.stringify(this.#plain(value), undefined, 1);
  }

  error(error: unknown): string {
    return JSON.stringify({ threw: this.#error(error) }, undefined, 1);
  }

  #plain(value: unknown): unknown {
    if (value === undefined) return "(undefined)";
    if (typeof value === "bigint") return `(${value}n)`;
    if (typeof value === "number" && !(Number.isFinite(value) && !Object.is(value, -0))) {
      return Object.is(value, -0) ? "(-0)" : `(${value})`;
    }
    if (value instanceof Date) return `+${value.getTime() - this.#start} ms`;
    if (value instanceof Error) return this.#error(value);
    if (value instanceof JobHandle) {
      this.kinds.push(`handle: ${value.status}`);
      return { handle: this.#id(value.id), status: value.status, created: value.created };
    }
    if (Array.isArray(value)) return value.map((one) => this.#plain(one));
    if (typeof value !== "object" || value === null) {
      if (typeof value === "boolean") this.kinds.push(String(value));
      return value;
    }
    return this.#fields(value as Readonly<Record<string, unknown>>);
  }

  #fields(value: Readonly<Record<string, unknown>>): unknown {
    const { state, kind } = value;
    if (typeof state === "string") this.kinds.push(`state: ${state}`);
    if (typeof kind === "string") this.kinds.push(`kind: ${kind}`);
    const fields = Object.keys(value)
      .sort()
      .flatMap((name) => {
        const one = value[name];
        if (name === "stack") return [];
        if (name === "processId") return [[name, "(a process)"]];
        return [[name, typeof one === "string" ? this.#text(name, one) : this.#listed(name, one)]];
      });
    return Object.fromEntries(fields) as unknown;
  }

  #listed(name: string, value: unknown): unknown {
    return name === "ids" ? (value as string[]).map((id) => this.#id(id)) : this.#plain(value);
  }

  #text(name: string, text: string): string {
    return ID_FIELDS.has(name)
      ? this.#id(text)
      : text.replaceAll(IN_MESSAGE, (_all, word: string, id: string) => word + this.#id(id));
  }

  #id(id: string): string {
    const known = this.#ids.get(id) ?? `#${this.#ids.size + 1}`;
    this.#ids.set(id, known);
    return known;
  }

  /** @param isCause then it is what a handler threw, of whatever class */
  #error(error: unknown, isCause = false): unknown {
    if (!(error instanceof Error)) return { notAnError: String(error) };
    const isOurs = error instanceof JobwrightError;
    if (isOurs || !isCause) this.kinds.push(isOurs ? `error: ${error.code}` : `stranger: ${error.name}`);
    const { cause } = error;
    return {
      name: error.name,
      message: this.#text("message", error.message),
      ...(cause === undefined ? {} : { cause: this.#error(cause, true) }),
      ...(this.#fields({ ...error }) as object),
    };
  }
}

const ID_FIELDS = new Set(["id", "jobId", "lastJobId", "existingId", "holderId"]);
/** Ids within the messages of errors. */
const IN_MESSAGE = /\b([Jj]ob )(\d+)\b/g;
