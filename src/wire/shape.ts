/**
 * What may cross the wire, described once: a shape turns a value into what msgpack packs, and checks what came.
 * Nothing that arrives reaches a storage unchecked, and nothing is sent that the other side would refuse.
 */

/** One kind of value. */
export interface Shape<T> {
  /** What is packed for a value. */
  readonly out: (value: T) => unknown;
  /** @throws MalformedError, with the place of what is wrong in it */
  readonly in: (value: unknown) => T;
}

/** What came is not what the protocol says. */
export class MalformedError extends Error {
  readonly place: readonly string[];
  readonly problem: string;
  constructor(problem: string, place: readonly string[] = []) {
    super(`${place.length === 0 ? "It" : place.join(".")} ${problem}`);
    this.problem = problem;
    this.place = place;
  }

  /** The same problem, seen from further out. */
  within(key: string): MalformedError {
    return new MalformedError(this.problem, [key, ...this.place]);
  }
}

/**
 * JavaScript's strings may hold halves of surrogate pairs, which UTF-8 cannot carry: such a text crosses as binary,
 * its UTF-16 code units with the low byte first.
 */
function unpaired(value: string): Uint8Array {
  return Buffer.from(value, "utf16le");
}

const same = <T>(value: T): unknown => value;

/** Any text of at most `max` UTF-16 code units. */
export function text(max: number): Shape<string> {
  return {
    out: (value) => (value.isWellFormed() ? value : unpaired(value)),
    in: (value) => {
      const found = value instanceof Uint8Array ? Buffer.from(value).toString("utf16le") : value;
      if (typeof found !== "string") throw new MalformedError("is not a text.");
      if (found.length > max) throw new MalformedError(`is longer than ${max} characters.`);
      return found;
    },
  };
}

/** A whole number. Larger than 2^53 is no number of ours. */
export function integer(
  min: number = Number.MIN_SAFE_INTEGER,
  max: number = Number.MAX_SAFE_INTEGER,
): Shape<number> {
  return {
    out: same,
    in: (value) => {
      if (!Number.isSafeInteger(value)) throw new MalformedError("is not a whole number.");
      if ((value as number) < min || (value as number) > max) {
        throw new MalformedError(`is not between ${min} and ${max}.`);
      }
      return value as number;
    },
  };
}

/** A finite number. */
export function number(min: number = -Number.MAX_VALUE, max: number = Number.MAX_VALUE): Shape<number> {
  return {
    out: same,
    in: (value) => {
      if (typeof value !== "number" || !(value >= min && value <= max)) {
        throw new MalformedError(`is not a number between ${min} and ${max}.`);
      }
      return value;
    },
  };
}

/** Any number at all: the storage judges it, and says what is wrong with it. */
export const anyNumber: Shape<number> = {
  out: same,
  in: (value) => {
    if (typeof value !== "number") throw new MalformedError("is not a number.");
    return value;
  },
};

export const boolean: Shape<boolean> = {
  out: same,
  in: (value) => {
    if (typeof value !== "boolean") throw new MalformedError("is neither true nor false.");
    return value;
  },
};

/** One of some texts. */
export function oneOf<const T extends string>(...values: readonly T[]): Shape<T> {
  const known = new Set<unknown>(values);
  return {
    out: same,
    in: (value) => {
      if (!known.has(value)) throw new MalformedError(`is none of ${values.join(", ")}.`);
      return value as T;
    },
  };
}

/** This value alone. */
export function literal<const T extends string | number | boolean>(expected: T): Shape<T> {
  return {
    out: same,
    in: (value) => {
      if (value !== expected) throw new MalformedError(`is not ${expected}.`);
      return expected;
    },
  };
}

export function orNull<T>(shape: Shape<T>): Shape<T | null> {
  return {
    out: (value) => (value === null ? null : shape.out(value)),
    in: (value) => (value === null ? null : shape.in(value)),
  };
}

/** A value or nothing; nothing crosses as nil. */
export function orNothing<T>(shape: Shape<T>): Shape<T | undefined> {
  return {
    out: (value) => (value === undefined ? null : shape.out(value)),
    in: (value) => (value === null || value === undefined ? undefined : shape.in(value)),
  };
}

/** A list may be sent by those who may not change it, and belongs to whoever receives it. */
export interface ListShape<T> {
  readonly out: (values: readonly T[]) => unknown;
  readonly in: (values: unknown) => T[];
}

/** At most `max` of a kind, in order. */
export function list<T>(shape: Shape<T>, max: number): ListShape<T> {
  return {
    out: (values) => values.map((value) => shape.out(value)),
    in: (values) => readList(values, max, (value) => shape.in(value)),
  };
}

/** The entries of a list, read one after the other. */
export function readList<T>(values: unknown, max: number, read: (value: unknown) => T): T[] {
  if (!Array.isArray(values)) throw new MalformedError("is not a list.");
  if (values.length > max) throw new MalformedError(`has more than ${max} entries.`);
  const found: T[] = [];
  for (let index = 0; index < values.length; index += 1) {
    try {
      found.push(read(values[index]));
    } catch (error) {
      throw error instanceof MalformedError ? error.within(String(index)) : error;
    }
  }
  return found;
}

/** Values by key. As pairs, so that no key means anything to whoever reads them. */
export function dictionary<T>(
  key: Shape<string>,
  shape: Shape<T>,
  max: number,
): Shape<Readonly<Record<string, T>>> {
  const pairs = list<readonly [string, T]>(
    {
      out: ([name, value]) => [key.out(name), shape.out(value)],
      in: (pair) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw new MalformedError("is not a pair.");
        return [key.in(pair[0]), shape.in(pair[1])];
      },
    },
    max,
  );
  return {
    out: (value) => pairs.out(Object.entries(value)),
    // `fromEntries` defines properties: "__proto__" is one like any other.
    in: (value) => Object.fromEntries(pairs.in(value)),
  };
}

/** The keys of `T` that may be absent. */
type OptionalKey<T> = {
  [K in keyof T]-?: undefined extends T[K] ? K : object extends Pick<T, K> ? K : never;
}[keyof T];
type RequiredKey<T> = Exclude<keyof T, OptionalKey<T>>;

/** Shapes of the fields of `T`, those that may be absent apart. */
export interface Fields<T> {
  readonly needs: { readonly [K in RequiredKey<T>]-?: Shape<T[K]> };
  readonly may: { readonly [K in OptionalKey<T>]-?: Shape<NonNullable<T[K]> | Extract<T[K], null>> };
}

/** A map, whatever it holds. */
export function readMap(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new MalformedError("is not a map.");
  }
  return value as Record<string, unknown>;
}

/** A map of named fields. Unknown ones are passed over: a newer peer may have more to say. */
export function record<T extends object>(fields: Fields<T>): Shape<T> {
  const needs = Object.entries(fields.needs) as [string, Shape<unknown>][];
  const may = Object.entries(fields.may) as [string, Shape<unknown>][];
  return {
    out: (value) => {
      const packed: Record<string, unknown> = {};
      const from = value as Record<string, unknown>;
      for (const [key, shape] of needs) packed[key] = shape.out(from[key]);
      for (const [key, shape] of may) {
        const field = from[key];
        if (field !== undefined) packed[key] = shape.out(field);
      }
      return packed;
    },
    in: (value) => {
      const from = readMap(value);
      const found: Record<string, unknown> = {};
      let at = "";
      try {
        for (const [key, shape] of needs) {
          at = key;
          found[key] = shape.in(from[key]);
        }
        for (const [key, shape] of may) {
          const field = from[key];
          at = key;
          if (field !== undefined) found[key] = shape.in(field);
        }
      } catch (error) {
        throw error instanceof MalformedError ? error.within(at) : error;
      }
      return found as T;
    },
  };
}

/** One of several records, told apart by the text of one field. */
export function variants<T extends object, K extends keyof T & string>(
  tag: K,
  shapes: { readonly [V in T[K] & string]: Shape<Extract<T, Readonly<Record<K, V>>>> },
): Shape<T> {
  const byTag = new Map(Object.entries(shapes)) as Map<unknown, Shape<T>>;
  return {
    out: (value) => (byTag.get(value[tag]) as Shape<T>).out(value),
    in: (value) => {
      const shape = byTag.get((value as Record<string, unknown> | null)?.[tag]);
      if (shape === undefined) throw new MalformedError(`is none of ${[...byTag.keys()].join(", ")}.`, [tag]);
      return shape.in(value);
    },
  };
}

/** The first of two shapes that a value has; sent by the first whose field it has. */
export function eitherField<A extends object, B extends object>(
  field: keyof A & string,
  first: Shape<A>,
  second: Shape<B>,
): Shape<A | B> {
  const isFirst = (value: unknown): boolean =>
    typeof value === "object" && value !== null && Object.hasOwn(value, field);
  return {
    out: (value) => (isFirst(value) ? first.out(value as A) : second.out(value as B)),
    in: (value) => (isFirst(value) ? first.in(value) : second.in(value)),
  };
}
