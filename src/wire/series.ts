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
  const needs = Object.entries(fields.needs) as Named[];
  const optional = new Map(Object.entries(fields.may) as Named[]);
  const isOwn = new Set<string>(own);
  return {
    out: (values) => {
      let before: Packed | undefined;
      /** Those of the optional fields that the entry before has and this one may leave out. */
      let had: string[] = [];
      return (values as readonly Packed[]).map((value) => {
        const packed: Record<string, unknown> = {};
        for (const [key, shape] of needs) {
          const field = value[key];
          if (before === undefined || isOwn.has(key) || !isSame(field, before[key]))
            packed[key] = shape.out(field);
        }
        const has: string[] = [];
        // Most jobs have none of the optional fields: to ask for each would cost more than all the others.
        const isPlain = Object.getPrototypeOf(value) === Object.prototype;
        for (const key of isPlain ? Object.keys(value) : optional.keys()) {
          const shape = optional.get(key);
          const field = value[key];
          if (shape === undefined || field === undefined) continue;
          if (isOwn.has(key)) packed[key] = shape.out(field);
          else {
            has.push(key);
            if (!had.includes(key) || !isSame(field, before?.[key])) packed[key] = shape.out(field);
          }
        }
        for (const key of had) if (!has.includes(key)) packed[key] = null;
        before = value;
        had = has;
        return packed;
      });
    },
    in: (values) => {
      let before: Packed | undefined;
      let had: string[] = [];
      return readList(values, max, (value) => {
        const from = readMap(value);
        const found: Record<string, unknown> = {};
        const has: string[] = [];
        let at = "";
        try {
          for (const [key, shape] of needs) {
            at = key;
            const field = from[key];
            found[key] =
              field === undefined && before !== undefined && !isOwn.has(key) ? before[key] : shape.in(field);
          }
          for (const key of Object.keys(from)) {
            const shape = optional.get(key);
            const field = from[key];
            if (shape === undefined || field === undefined || field === null) continue;
            at = key;
            found[key] = shape.in(field);
            if (!isOwn.has(key)) has.push(key);
          }
        } catch (error) {
          throw error instanceof MalformedError ? error.within(at) : error;
        }
        for (const key of had) {
          if (from[key] !== undefined) continue;
          found[key] = before?.[key];
          has.push(key);
        }
        before = found;
        had = has;
        return found as T;
      });
    },
  };
}

type Packed = Readonly<Record<string, unknown>>;
type Named = readonly [string, Shape<unknown>];

/** Whether a field may be left out: what is equal but another object is said again. */
function isSame(a: unknown, b: unknown): boolean {
  return a === b || (Array.isArray(a) && a.length === 0 && Array.isArray(b) && b.length === 0);
}
