import type { JobError } from "../job/job.ts";

/**
 * A JSON Schema (draft 2020-12) as plain, frozen data: of what `JSON.stringify` makes of a value. A `Date` is an ISO
 * text there, `Infinity` is `null`, and what is `undefined` is left out. Schemas say what is there and do not forbid
 * more, since a minor version may add something.
 */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

declare const describes: unique symbol;

/** A schema for exactly this type, as far as the compiler is concerned. */
export interface SchemaOf<T> extends JsonSchema {
  readonly [describes]?: (value: T) => T;
}

type OptionalKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];

/** A schema that stands by itself. */
export function whole(title: string, schema: JsonSchema): JsonSchema {
  const $defs = JSON.stringify(schema).includes(JOB_ERROR) ? { $defs: { jobError } } : {};
  return deepFreeze({ $schema: "https://json-schema.org/draft/2020-12/schema", title, ...schema, ...$defs });
}

/**
 * An object: every key that it always has, and every key that it may have. The compiler refuses a key too few or too
 * many, a required one among the optional ones, and a schema of another type.
 *
 * @typeParam Absent keys that the type always has, but that may be `undefined` and are then left out
 */
export function object<T, Absent extends keyof T = never>(
  required: { readonly [K in Exclude<keyof T, OptionalKeys<T> | Absent>]: SchemaOf<T[K]> },
  optional: { readonly [K in OptionalKeys<T> | Absent]-?: SchemaOf<Exclude<T[K], undefined>> },
): SchemaOf<T> {
  return {
    type: "object",
    properties: { ...required, ...optional },
    required: Object.keys(required),
  };
}

export const anything: SchemaOf<unknown> = {};
export const text: SchemaOf<string> = { type: "string" };
export const yesOrNo: SchemaOf<boolean> = { type: "boolean" };
export const number: SchemaOf<number> = { type: "number" };
export const integer: SchemaOf<number> = { type: "integer" };
export const count: SchemaOf<number> = { type: "integer", minimum: 0 };
export const instant: SchemaOf<Date> = { type: "string", format: "date-time" };
export const jobId: SchemaOf<string> = { type: "string", pattern: "^[1-9][0-9]{0,15}$" };

export function described<T>(description: string, schema: SchemaOf<T>): SchemaOf<T> {
  return { ...schema, description };
}

export function oneOf<const T extends string>(...values: readonly T[]): SchemaOf<T> {
  return { enum: values };
}

export function listOf<T>(items: SchemaOf<T>): SchemaOf<readonly T[]> {
  return { type: "array", items };
}

/** Exactly one of them fits. */
export function either<T extends readonly unknown[]>(
  ...schemas: { readonly [I in keyof T]: SchemaOf<T[I]> }
): SchemaOf<T[number]> {
  return { oneOf: schemas };
}

const JOB_ERROR = "#/$defs/jobError";

/** What was thrown. Its causes are errors, too. */
export const error: SchemaOf<JobError> = { $ref: JOB_ERROR };

const jobError = described(
  "What was thrown, reduced to data of a bounded length.",
  object<JobError>({ name: text, message: text }, { stack: text, code: text, cause: error }),
);

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
