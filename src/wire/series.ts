import { type Fields, type ListShape, MalformedError, readList, readMap, type Shape } from "./shape.ts";

/**
 * A list of records of which most fields are those of the record before: such a field is left out. Jobs of one
 * definition share all but a few, and to pack, send and read the others again would be half the work of a claim.
 *
 * @param own fields that every entry says for itself: what can be large must not be multiplied by leaving it out
 */
export function series<T extends object>(
  fields: Fields<T>,
  own: readonly (keyof T & string)[],
  max: number,
): ListShape<T> {
  const needs = Object.entries(fields.needs) as [string, Shape<unknown>][];
  const may = Object.entries(fields.may) as [string, Shape<unknown>][];
  const isOwn = new Set<string>(own);
  return {
    out: (values) => {
      let before: Record<string, unknown> | undefined;
      return (values as readonly Record<string, unknown>[]).map((value) => {
        const packed: Record<string, unknown> = {};
        for (const [key, shape] of needs) {
          const field = value[key];
          if (before === undefined || isOwn.has(key) || !isSame(field, before[key]))
            packed[key] = shape.out(field);
        }
        for (const [key, shape] of may) {
          const field = value[key];
          if (field === undefined) {
            if (before?.[key] !== undefined && !isOwn.has(key)) packed[key] = null;
          } else if (isOwn.has(key) || !isSame(field, before?.[key])) packed[key] = shape.out(field);
        }
        before = value;
        return packed;
      });
    },
    in: (values) => {
      let before: Record<string, unknown> | undefined;
      return readList(values, max, (value) => {
        before = entry(value, before, needs, may, isOwn);
        return before as T;
      });
    },
  };
}

type Named = readonly [string, Shape<unknown>];

function entry(
  packed: unknown,
  before: Readonly<Record<string, unknown>> | undefined,
  needs: readonly Named[],
  may: readonly Named[],
  isOwn: ReadonlySet<string>,
): Record<string, unknown> {
  const from = readMap(packed);
  const found: Record<string, unknown> = {};
  let at = "";
  try {
    for (const [key, shape] of needs) {
      at = key;
      const field = from[key];
      found[key] =
        field === undefined && before !== undefined && !isOwn.has(key) ? before[key] : shape.in(field);
    }
    for (const [key, shape] of may) {
      at = key;
      const field = from[key];
      if (field === undefined) {
        if (before?.[key] !== undefined && !isOwn.has(key)) found[key] = before[key];
      } else if (field !== null) found[key] = shape.in(field);
    }
  } catch (error) {
    throw error instanceof MalformedError ? error.within(at) : error;
  }
  return found;
}

/** Whether a field may be left out: what is equal but another object is said again. */
function isSame(a: unknown, b: unknown): boolean {
  return a === b || (Array.isArray(a) && a.length === 0 && Array.isArray(b) && b.length === 0);
}
