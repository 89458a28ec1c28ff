import { createHash } from "node:crypto";
import { type Duration, toMsOrNull } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import type { LimitKey, UniqueKey } from "./key.ts";
import { limits } from "./limits.ts";
import { checkName } from "./name.ts";

/** What keys are made of: 1 to 200 characters, or a number. */
export type KeyText = string | number;

/** At most one job at a time. `K` is what the key may be: in a definition also a function of the payload. */
export interface UniqueOptions<K = KeyText> {
  /** Jobs with the same key are the same. @default a digest of the payload */
  readonly key?: K;
  /** `"live"`: until the job has ended; `"waiting"`: only while it waits. @default "live", or neither with `for` */
  readonly while?: "waiting" | "live";
  /** For this long from the enqueue, whatever becomes of the job; `Infinity` = once for ever. */
  readonly for?: Duration;
  /** Whether other definitions share the key. @default "definition" */
  readonly scope?: KeyScope;
  /**
   * What a second one gets: the job that is there, that job with what the second one says (as long as it waits),
   * or a {@link KeyHeldError}. @default "keep"
   */
  readonly onConflict?: "keep" | "replace" | "error";
  /** Begin with the checkpoint of the last job that had the key, as long as that is kept. @default false */
  readonly inherit?: boolean;
}

/** At most so many running at a time, in the whole fleet. */
export interface LimitOptions<K = KeyText> {
  /** Jobs with the same key share the slots. @default "*": all of the definition do */
  readonly key?: K;
  /** How many run at a time: 1 to 1,000. */
  readonly concurrency: number;
  /** Whether other definitions share the key. @default "definition" */
  readonly scope?: KeyScope;
}

/** Whose keys are the same: those of one definition, or those of all that say `"all"`. */
export type KeyScope = "definition" | "all";

/** The keys that a call, or a definition, can give its job. */
export interface KeyOptions<K = KeyText> {
  /** `true`: one for each payload; a text: one for this key; `false`: not, whatever the definition says. @default false */
  readonly unique?: boolean | string | UniqueOptions<K>;
  /** A number: so many of this definition run at a time in the fleet. @default false */
  readonly limit?: false | number | LimitOptions<K>;
  /** Short for a `limit` of one, shared by all definitions that name the key: one at a time, in order. */
  readonly concurrencyKey?: K;
}

/** In a definition: keys may be functions of the payload (the schema's output). */
export type DefinitionKeys<Payload> = KeyOptions<KeyText | ((payload: Payload) => KeyText)>;

/** The keys of a job, as they are stored. */
export interface ResolvedKeys {
  unique?: UniqueKey;
  limit?: LimitKey;
}

export const KEY_OPTIONS: readonly string[] = ["unique", "limit", "concurrencyKey"];

// ── Rules: what one level says, checked ──────────────────────────────────────

/** The key is made of the payload. */
const OF_PAYLOAD: unique symbol = Symbol("of the payload");
type KeyRule = string | typeof OF_PAYLOAD | ((payload: unknown) => unknown);

type UniqueRule = Omit<UniqueOptions<KeyRule>, "for"> & { readonly forMs?: number | null };
type LimitRule = LimitOptions<KeyRule>;

/** What a level says of keys; absent where it says nothing. */
export interface KeyRules {
  readonly unique?: false | UniqueRule;
  readonly limit?: false | LimitRule;
}

/**
 * What one level says, checked.
 *
 * @param mayCompute whether keys may be functions of the payload
 * @throws InvalidOptionError
 */
export function keyRules(given: KeyOptions<unknown>, mayCompute: boolean): KeyRules {
  const { unique, limit, concurrencyKey } = given;
  if (limit !== undefined && concurrencyKey !== undefined) {
    throw new InvalidOptionError(
      "concurrencyKey",
      concurrencyKey,
      'It is short for limit: { key, concurrency: 1, scope: "all" }. Use one of the two.',
    );
  }
  return {
    ...(unique === undefined ? {} : { unique: uniqueRule(unique, mayCompute) }),
    ...(limit === undefined ? {} : { limit: limitRule(limit, mayCompute) }),
    ...(concurrencyKey === undefined
      ? {}
      : { limit: { key: keyRule(concurrencyKey, "concurrencyKey", mayCompute), ...ONE_OF_ALL } }),
  };
}

/** A level laid over another one: what it does not say stays. */
export function laidOver(below: KeyRules, above: KeyRules): KeyRules {
  return {
    ...below,
    ...above,
    ...(isRule(below.unique) && isRule(above.unique) ? { unique: { ...below.unique, ...above.unique } } : {}),
    ...(isRule(below.limit) && isRule(above.limit) ? { limit: { ...below.limit, ...above.limit } } : {}),
  };
}

/** Whether it takes the payload to know the keys. */
export function areComputed({ unique, limit }: KeyRules): boolean {
  return (
    (isRule(unique) && typeof unique.key !== "string") || typeof (limit || undefined)?.key === "function"
  );
}

/**
 * The keys of a job.
 *
 * @param name of the definition
 * @param payload the schema's output, for the functions
 * @param text the payload as it is stored
 * @throws InvalidOptionError when a function answers no key
 */
export function resolveKeys(rules: KeyRules, name: string, payload: unknown, text: string): ResolvedKeys {
  const { unique, limit } = rules;
  const keys: ResolvedKeys = {};
  if (isRule(unique)) {
    const { forMs, onConflict = "keep", inherit } = unique;
    keys.unique = {
      scope: scopeOf(unique.scope, name),
      key: keyOf(unique.key, `unique.key, computed by "${name}",`, payload, text),
      while: unique.while ?? (forMs === undefined ? "live" : null),
      ...(forMs === undefined ? {} : { forMs }),
      onConflict,
      ...(inherit === true ? { inherit } : {}),
    };
  }
  if (isRule(limit)) {
    keys.limit = {
      scope: scopeOf(limit.scope, name),
      key: keyOf(limit.key ?? WHOLE, `limit.key, computed by "${name}",`, payload, text),
      concurrency: limit.concurrency,
    };
  }
  return keys;
}

/** Resolved keys as a call says them: data, for those who cannot take the definition along. */
export function keysAsOptions({ unique, limit }: ResolvedKeys): KeyOptions {
  const scope = (scoped: { readonly scope: string }): { scope: KeyScope } => ({
    scope: scoped.scope === "" ? "all" : "definition",
  });
  return {
    unique: unique !== undefined && {
      key: unique.key,
      onConflict: unique.onConflict,
      ...scope(unique),
      ...(unique.while === null ? {} : { while: unique.while }),
      ...(unique.forMs === undefined ? {} : { for: unique.forMs ?? Number.POSITIVE_INFINITY }),
      ...(unique.inherit === true ? { inherit: true } : {}),
    },
    limit: limit !== undefined && { key: limit.key, concurrency: limit.concurrency, ...scope(limit) },
  };
}

// ── Checks ───────────────────────────────────────────────────────────────────

const ONE_OF_ALL = { concurrency: 1, scope: "all" } as const;
/** The key that all jobs of a definition share when a limit names none. */
const WHOLE = "*";

function uniqueRule(given: unknown, mayCompute: boolean): false | UniqueRule {
  if (given === false) return false;
  if (given === true) return { key: OF_PAYLOAD };
  if (typeof given === "string") return { key: checkKey(given, "unique") };
  const remedy = "Use true, a key, or an object with any of key, while, for, scope, onConflict, inherit.";
  const options = fields(given, "unique", remedy);
  let rule: UniqueRule = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    switch (name) {
      case "key":
        rule = { ...rule, key: keyRule(value, "unique.key", mayCompute) };
        break;
      case "while":
        rule = { ...rule, while: oneOf(value, "unique.while", ["waiting", "live"]) };
        break;
      case "for":
        rule = { ...rule, forMs: toMsOrNull(value as Duration, "unique.for", { min: 1 }) };
        break;
      case "scope":
        rule = { ...rule, scope: oneOf(value, "unique.scope", ["definition", "all"]) };
        break;
      case "onConflict":
        rule = { ...rule, onConflict: oneOf(value, "unique.onConflict", ["keep", "replace", "error"]) };
        break;
      case "inherit":
        if (typeof value !== "boolean")
          throw new InvalidOptionError("unique.inherit", value, "Use true or false.");
        rule = { ...rule, inherit: value };
        break;
      default:
        throw new InvalidOptionError(`unique.${name}`, value, remedy);
    }
  }
  return rule;
}

function limitRule(given: unknown, mayCompute: boolean): false | LimitRule {
  if (given === false) return false;
  if (typeof given === "number") return { key: WHOLE, concurrency: checkConcurrency(given, "limit") };
  const remedy = "Use a number, or an object with concurrency and any of key, scope.";
  const options = fields(given, "limit", remedy);
  for (const name of Object.keys(options)) {
    if (!["key", "concurrency", "scope"].includes(name)) {
      throw new InvalidOptionError(`limit.${name}`, options[name], remedy);
    }
  }
  const { key, concurrency, scope } = options;
  return {
    concurrency: checkConcurrency(concurrency, "limit.concurrency"),
    ...(key === undefined ? {} : { key: keyRule(key, "limit.key", mayCompute) }),
    ...(scope === undefined ? {} : { scope: oneOf(scope, "limit.scope", ["definition", "all"]) }),
  };
}

function fields(given: unknown, option: string, remedy: string): Readonly<Record<string, unknown>> {
  if (typeof given === "object" && given !== null && !Array.isArray(given)) {
    return given as Readonly<Record<string, unknown>>;
  }
  throw new InvalidOptionError(option, given, remedy);
}

function keyRule(value: unknown, option: string, mayCompute: boolean): KeyRule {
  if (typeof value !== "function") return checkKey(value, option);
  if (mayCompute) return value as (payload: unknown) => unknown;
  throw new InvalidOptionError(
    option,
    value,
    "Use a text or a number here; functions of the payload stand in the definition.",
  );
}

function checkKey(value: unknown, option: string): string {
  const text = typeof value === "number" && Number.isFinite(value) ? String(value) : value;
  if (typeof text === "string" && text.length > limits.nameLength) {
    throw new InvalidOptionError(
      option,
      text,
      `It has ${text.length} characters; use at most ${limits.nameLength}, or a hash of what is longer.`,
    );
  }
  return checkName(text, option);
}

function checkConcurrency(value: unknown, option: string): number {
  const { limitConcurrency: max } = limits;
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max) return value as number;
  throw new InvalidOptionError(option, value, `Use an integer from 1 to ${max}.`);
}

function oneOf<const T extends string>(value: unknown, option: string, known: readonly T[]): T {
  if (known.includes(value as T)) return value as T;
  throw new InvalidOptionError(option, value, `Use ${known.map((one) => `"${one}"`).join(" or ")}.`);
}

function isRule<R extends object>(rule: false | R | undefined): rule is R {
  return rule !== undefined && rule !== false;
}

function scopeOf(scope: KeyScope | undefined, name: string): string {
  return scope === "all" ? "" : name;
}

function keyOf(rule: KeyRule | undefined, computed: string, payload: unknown, text: string): string {
  if (typeof rule === "string") return rule;
  return typeof rule === "function" ? checkKey(rule(payload), computed) : digest(text);
}

/** Two payloads that differ in the order of their keys alone are the same. */
function digest(text: string): string {
  return createHash("sha256")
    .update(canonical(JSON.parse(text)))
    .digest("base64url");
}

function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join(",")}}`;
}
