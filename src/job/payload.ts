import { InvalidPayloadError, InvalidValueError, PayloadTooLargeError } from "../errors.ts";
import { serializeError } from "./error.ts";
import { limits } from "./limits.ts";

/**
 * The payload of a job as the JSON text that is stored.
 *
 * Strict where `JSON.stringify` is not: what would come back as something else is refused with its path and
 * what to do instead. Dropped are only properties that are undefined or named by a symbol; `-0` becomes `0`.
 *
 * @throws InvalidPayloadError when JSON cannot carry it
 * @throws PayloadTooLargeError above `limits.payloadBytes`
 */
export function payloadText(job: string, value: unknown): string {
  const made = toJsonText(value, { bytes: limits.payloadBytes, depth: limits.jsonDepth });
  switch (made.kind) {
    case "text":
      return made.text;
    case "unfit":
      throw new InvalidPayloadError(job, [made.problem]);
    case "large":
      throw new PayloadTooLargeError(
        `The payload of "${job}"${counted(made)}`,
        made.bytes,
        limits.payloadBytes,
      );
  }
}

/**
 * A result or a checkpoint entry as the JSON text that is stored, by the same rules as a payload.
 *
 * @param what names the value in the error: `The result of job 7`
 * @throws InvalidValueError when JSON cannot carry it, or above `bytesMax`
 */
export function valueText(what: string, value: unknown, bytesMax: number): string {
  const made = toJsonText(value, { bytes: bytesMax, depth: limits.jsonDepth });
  switch (made.kind) {
    case "text":
      return made.text;
    case "unfit": {
      const { path, message } = made.problem;
      throw new InvalidValueError(what, path.length === 0 ? message : `At ${pathText(path)}: ${message}`);
    }
    case "large":
      throw new InvalidValueError(
        what,
        `It is ${made.complete ? "" : "at least "}${made.bytes} bytes of JSON; the limit is ${bytesMax}. ` +
          "Store the data elsewhere and keep a reference to it.",
      );
  }
}

/**
 * A stored payload, as a handler gets it. A key `__proto__` comes back as the object's own, harmless key;
 * whoever copies it on by assignment, and not by spreading, makes it a prototype again.
 */
export function parsePayload(text: string): unknown {
  return JSON.parse(text);
}

/** Why JSON cannot carry a value: where, and what to do instead. */
export interface JsonProblem {
  /** Keys from the root to the value. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type JsonText =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "unfit"; readonly problem: JsonProblem }
  /** `complete` is false when counting was given up: the text would be larger still. */
  | { readonly kind: "large"; readonly bytes: number; readonly complete: boolean };

/** A value as JSON text, or why not. Never throws, whatever getters and proxies do. */
export function toJsonText(
  value: unknown,
  limit: { readonly bytes: number; readonly depth: number },
): JsonText {
  const writer = new JsonWriter(limit.depth, limit.bytes * COUNTED_BEYOND_LIMIT);
  const text = writer.write(value, 1);
  if (text === undefined) {
    return writer.isFull
      ? { kind: "large", bytes: writer.length, complete: false }
      : { kind: "unfit", problem: { path: writer.keys.reverse(), message: writer.message } };
  }
  // A UTF-16 unit is at most three bytes of UTF-8, so most texts need no count.
  if (text.length * 3 > limit.bytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > limit.bytes) return { kind: "large", bytes, complete: true };
  }
  return { kind: "text", text };
}

/** Why JSON cannot carry this value, `undefined` when it can: it would come back equal. */
export function checkJson(value: unknown): JsonProblem | undefined {
  const made = toJsonText(value, { bytes: Number.MAX_SAFE_INTEGER, depth: limits.jsonDepth });
  return made.kind === "unfit" ? made.problem : undefined;
}

/**
 * How far beyond the limit a value is still counted, to name its true size. Objects that share parts can
 * unfold into texts without end, so somewhere counting has to stop.
 */
const COUNTED_BEYOND_LIMIT = 16;

/**
 * Writes and checks in one pass, so that what is stored is what was checked: `JSON.stringify` after a check
 * would read everything, getters and proxies included, a second time. It is faster, too.
 */
class JsonWriter {
  /** Characters written so far. */
  length = 0;
  /** The problem, when `write` answers `undefined`. Levels add their keys on the way up, innermost first. */
  message = "";
  readonly keys: (string | number)[] = [];
  readonly #depthMax: number;
  readonly #lengthMax: number;

  constructor(depthMax: number, lengthMax: number) {
    this.#depthMax = depthMax;
    this.#lengthMax = lengthMax;
  }

  get isFull(): boolean {
    return this.length > this.#lengthMax;
  }

  write(value: unknown, depth: number): string | undefined {
    switch (typeof value) {
      case "string":
        return this.#done(quote(value));
      case "number":
        // -0 becomes 0, as everywhere in JSON.
        return Number.isFinite(value)
          ? this.#done(`${value}`)
          : this.#refuse(`${value} is no JSON number. Use null or a string.`);
      case "boolean":
        return this.#done(value ? "true" : "false");
      case "object":
        if (value === null) return this.#done("null");
        if (depth > this.#depthMax) return this.#refuse(tooDeep(value, this.#depthMax));
        return Array.isArray(value) ? this.#array(value, depth) : this.#object(value, depth);
      case "undefined":
        return this.#refuse("undefined is no JSON value. Use null, or leave it out.");
      case "bigint":
        return this.#refuse("JSON has no BigInt. Use a string: value.toString().");
      case "function":
        return this.#refuse("JSON has no functions. Pass data; what to do with it belongs into the handler.");
      case "symbol":
        return this.#refuse("JSON has no symbols. Use a string.");
    }
  }

  #array(array: readonly unknown[], depth: number): string | undefined {
    let index = 0;
    try {
      if (!isPlainArray(array))
        return this.#refuse(`${classOf(array)} comes back as a plain array. Pass [...array].`);
      const { length } = array;
      let text = "[";
      for (; index < length; index++) {
        const item = array[index];
        const written =
          item === undefined
            ? this.#refuse(index in array ? UNDEFINED_ITEM : MISSING_ITEM)
            : this.write(item, depth + 1);
        if (written === undefined) return this.#under(index);
        if (index > 0) text += ",";
        text += written;
      }
      // Properties beside the items, as the arrays of RegExp.exec() have, would be lost.
      if (Object.keys(array).length > length) {
        return this.#refuse("An array's named properties are lost in JSON. Pass an object, or [...array].");
      }
      this.length += 2;
      return `${text}]`;
    } catch (thrown) {
      this.#refuse(unreadable(thrown));
      return this.#under(index);
    }
  }

  #object(object: object, depth: number): string | undefined {
    let key: string | undefined;
    try {
      const prototype: unknown = Object.getPrototypeOf(object);
      if (prototype !== Object.prototype && prototype !== null && !isForeignPlain(prototype)) {
        return this.#refuse(adviceFor(object));
      }
      let text = "{";
      for (key of Object.keys(object)) {
        const value = (object as Record<string, unknown>)[key];
        // Dropped as JSON.stringify does: the property reads as undefined before and after.
        if (value === undefined) continue;
        const written = this.write(value, depth + 1);
        if (written === undefined) return this.#under(key);
        if (text !== "{") text += ",";
        text += `${quote(key)}:${written}`;
        this.length += key.length + 4;
      }
      this.length += 2;
      return `${text}}`;
    } catch (thrown) {
      this.#refuse(unreadable(thrown));
      return key === undefined ? undefined : this.#under(key);
    }
  }

  #done(text: string): string | undefined {
    this.length += text.length;
    return this.length > this.#lengthMax ? undefined : text;
  }

  #refuse(message: string): undefined {
    this.message = message;
  }

  #under(key: string | number): undefined {
    this.keys.push(typeof key === "string" && key.length > 100 ? `${key.slice(0, 99)}…` : key);
  }
}

const UNDEFINED_ITEM = "undefined in an array comes back as null. Use null, or leave the item out.";
const MISSING_ITEM = "A hole in an array comes back as null. Use null, or leave the item out.";

/** What JSON cannot say without an escape; of surrogates only the lone ones, but the platform sorts them out. */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const ESCAPED = /["\\\u0000-\u001f\ud800-\udfff]/;

function quote(text: string): string {
  // The platform is faster with long texts, and knows every escape.
  return text.length > 50 || ESCAPED.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/** `Array.prototype` is an array itself, in every realm; the prototype of a subclass is not. */
function isPlainArray(array: readonly unknown[]): boolean {
  const prototype: unknown = Object.getPrototypeOf(array);
  return prototype === Array.prototype || Array.isArray(prototype);
}

/** `Object.prototype` of another realm, which test runners and `node:vm` hand out. */
function isForeignPlain(prototype: unknown): boolean {
  return (
    typeof prototype === "object" &&
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, "isPrototypeOf")
  );
}

/** What to do with an object that is not plain. */
function adviceFor(object: object): string {
  if (object instanceof Date) {
    return Number.isNaN(object.getTime())
      ? "JSON has no dates, and this one is invalid. Pass null or a valid date.toISOString()."
      : "JSON has no dates. Pass date.toISOString() and parse it in the schema or the handler.";
  }
  if (object instanceof Map) return "JSON has no Map. Pass Object.fromEntries(map) or [...map].";
  if (object instanceof Set) return "JSON has no Set. Pass [...set].";
  if (object instanceof RegExp) return "JSON has no RegExp. Pass regexp.source.";
  if (ArrayBuffer.isView(object) || object instanceof ArrayBuffer) {
    return 'JSON has no bytes. Pass buffer.toString("base64"), or store them elsewhere and pass a reference.';
  }
  if (object instanceof Error) return "An Error does not survive JSON. Pass { name, message }.";
  if (object instanceof Promise) return "A Promise is no data. Await it first.";
  return `${classOf(object)} comes back as a plain object. Pass { ...value } or a plain copy.`;
}

function classOf(object: object): string {
  const { constructor } = object;
  const isNamed =
    typeof constructor === "function" && constructor !== Object && typeof constructor.name === "string";
  return isNamed && constructor.name !== ""
    ? `An instance of ${constructor.name.slice(0, 100)}`
    : "An object with a prototype of its own";
}

/** A cycle has no end, so it is always found here; only then is it worth telling from honest nesting. */
function tooDeep(value: object, depthMax: number): string {
  return reachesItself(value)
    ? "The value contains itself, which JSON cannot say. Pass ids instead of objects."
    : `It is nested more than ${depthMax} levels deep. Flatten it, or pass it as text.`;
}

/** Whether the first path down from here returns to an object on it; looks at a bounded number of objects. */
function reachesItself(start: object): boolean {
  const path = new Set<object>();
  const visit = (object: object): boolean => {
    if (path.has(object)) return true;
    if (path.size >= limits.jsonDepth) return false;
    path.add(object);
    for (const key of Object.keys(object)) {
      const child = (object as Record<string, unknown>)[key];
      if (typeof child === "object" && child !== null && visit(child)) return true;
      budget--;
      if (budget <= 0) return false;
    }
    path.delete(object);
    return false;
  };
  let budget = 10_000;
  try {
    return visit(start);
  } catch {
    return false;
  }
}

function unreadable(thrown: unknown): string {
  return `Reading it threw "${serializeError(thrown).message.slice(0, 200)}". Pass plain data.`;
}

function counted(made: { readonly complete: boolean }): string {
  return made.complete ? "" : ", as far as it was counted,";
}

function pathText(path: readonly (string | number)[]): string {
  const text = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`)).join("");
  return text.startsWith(".") ? text.slice(1) : text;
}
