import { InvalidOptionError, type PayloadIssue } from "../errors.ts";
import type { AnyJobDefinition } from "./definition.ts";
import { serializeError } from "./error.ts";
import type { SchemaIssue, SchemaResult } from "./schema.ts";

/** Issues of one payload that are reported; a list of a million wrong items is still one mistake. */
const ISSUES_MAX = 100;

/** The answer of a schema: what the handler gets, or what is wrong. */
export type Validation =
  | { readonly ok: true; readonly payload: unknown }
  /** `thrown`: the schema itself failed, which says nothing about the payload. */
  | { readonly ok: false; readonly issues: readonly PayloadIssue[]; readonly thrown?: unknown };

/** Whether the schema is `json<T>()`, which promises a type and checks nothing. */
export function isUnchecked(definition: AnyJobDefinition): boolean {
  return definition.schema["~standard"].vendor === "jobwright";
}

/** Ask the definition's schema. A promise only where the schema is asynchronous; never throws. */
export function validatePayload(
  definition: AnyJobDefinition,
  value: unknown,
): Validation | Promise<Validation> {
  if (isUnchecked(definition)) return { ok: true, payload: value };
  const standard = definition.schema["~standard"];
  try {
    const result = standard.validate(value) as SchemaResult<unknown> | PromiseLike<SchemaResult<unknown>>;
    return isThenable(result)
      ? Promise.resolve(result).then(validationOf).catch(schemaThrew)
      : validationOf(result);
  } catch (thrown) {
    return schemaThrew(thrown);
  }
}

/** @throws InvalidOptionError when it is no Standard Schema */
export function checkSchema(schema: unknown): void {
  // Some libraries' schemas are functions.
  const isHolder = (typeof schema === "object" && schema !== null) || typeof schema === "function";
  const standard: unknown = isHolder ? (schema as Record<string, unknown>)["~standard"] : undefined;
  const { version, validate } = (standard ?? {}) as { version?: unknown; validate?: unknown };
  if (version === 1 && typeof validate === "function") return;
  throw new InvalidOptionError(
    "payload",
    schema,
    "Use a schema that implements Standard Schema v1 (zod, valibot, arktype, …), or json<T>().",
  );
}

function validationOf(result: SchemaResult<unknown>): Validation {
  if (result.issues === undefined) return { ok: true, payload: result.value };
  const issues = result.issues.slice(0, ISSUES_MAX).map(issueOf);
  if (issues.length === 0) issues.push({ message: "The schema refused it without a reason.", path: [] });
  const more = result.issues.length - ISSUES_MAX;
  if (more > 0) issues.push({ message: `… and ${more} more issues.`, path: [] });
  return { ok: false, issues };
}

function issueOf(issue: SchemaIssue): PayloadIssue {
  return {
    message: String(issue.message),
    path: (issue.path ?? []).map((segment) => {
      const key = typeof segment === "object" ? segment.key : segment;
      return typeof key === "number" ? key : String(key);
    }),
  };
}

function schemaThrew(thrown: unknown): Validation {
  const { name, message } = serializeError(thrown);
  return { ok: false, issues: [{ message: `The schema threw ${name}: ${message}`, path: [] }], thrown };
}

function isThenable(value: object): value is PromiseLike<SchemaResult<unknown>> {
  return typeof (value as { then?: unknown }).then === "function";
}
