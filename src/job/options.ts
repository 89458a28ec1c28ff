import { type Duration, toMs, toMsOrNull } from "../duration.ts";
import { InvalidOptionError, type PayloadIssue } from "../errors.ts";
import { show } from "../show.ts";
import { checkBackoff, exponential } from "./backoff.ts";
import type { AnyJobDefinition, JobOptions, RetentionOptions } from "./definition.ts";
import { serializeError } from "./error.ts";
import type { JobSpec, Retention } from "./job.ts";
import { limits } from "./limits.ts";
import { checkName } from "./name.ts";
import { instantMs, type Later } from "./outcome.ts";
import type { SchemaIssue, SchemaResult } from "./schema.ts";

/** Options of one `enqueue`; they win over the definition's, those of `connect`, and the built-in ones. */
export interface EnqueueOptions extends JobOptions {
  /**
   * An id of your own, 1 to 200 characters. Enqueueing it again with the same payload answers with the job
   * that has it, with another payload fails; free again when the finished job is pruned.
   */
  readonly id?: string;
  /** Start this much later. Not together with `at`. */
  readonly in?: Duration;
  /** Start at this instant; one that has passed means now. Not together with `in`. */
  readonly at?: Date;
}

/** What holds where no level says otherwise. */
export const builtIn: Required<JobOptions> = {
  queue: "default",
  priority: 0,
  maxRetries: 5,
  backoff: exponential(),
  timeout: "15m",
  retention: { completed: "1d", cancelled: "7d", dead: "7d" },
  tags: [],
};

/** A job to store, all but its payload. */
export type ResolvedOptions = Omit<JobSpec, "payload"> & {
  readonly priority: number;
  readonly later?: Later;
};

/**
 * The four levels made one: call > definition (its functions asked) > defaults of `connect` > built-in.
 * Retention is merged by outcome. The answer may be shared between calls: copy it, do not change it.
 *
 * @param payload the schema's output, for the definition's functions
 * @param defaults as answered by {@link checkDefaults}, the same object for every call
 * @throws InvalidOptionError
 */
export function resolveOptions(
  definition: AnyJobDefinition,
  payload: unknown,
  call: EnqueueOptions | undefined,
  defaults: JobOptions,
): ResolvedOptions {
  const plan = planOf(definition, defaults);
  if (call === undefined && !plan.isComputed) return plan.resolved;
  const level = call === undefined ? NOTHING : levelOf(call, CALL_ONLY);
  return {
    ...plan.resolved,
    ...(plan.isComputed ? computedLevel(definition, payload, level) : NOTHING),
    ...level,
    retention: { ...plan.resolved.retention, ...level.retention },
    ...(call === undefined ? NO_PLACE : placeOf(call)),
  };
}

/** The options of a definition's jobs where a call says nothing and no payload is asked. */
export function fixedOptions(definition: AnyJobDefinition, defaults: JobOptions): ResolvedOptions {
  return planOf(definition, defaults).resolved;
}

/**
 * The defaults given to `connect`, checked and copied.
 *
 * @throws InvalidOptionError
 */
export function checkDefaults(defaults: JobOptions): JobOptions {
  levelOf(defaults, []);
  return Object.freeze({ ...defaults });
}

/**
 * Refuse a definition that makes no sense, so that the mistake shows where it was made.
 *
 * @param hasHandlerAlready whether a handler is about to be bound where one is
 * @throws InvalidOptionError
 */
export function checkDefinition(definition: AnyJobDefinition, hasHandlerAlready = false): void {
  checkName(definition.name, "name");
  if (hasHandlerAlready) {
    throw new InvalidOptionError(
      "definition",
      definition.name,
      "It already has a handler: use it as it is, or define the job without `run` and `thread`.",
    );
  }
  if ("run" in definition && typeof definition.run !== "function") {
    throw new InvalidOptionError(
      "run",
      definition.run,
      "Use a function, or leave it out and bind one with implement().",
    );
  }
  checkThread(definition);
  checkSchema(definition.schema);
  levelOf(definition.options, DEFINITION_ONLY, COMPUTABLE);
}

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

// ── Levels ───────────────────────────────────────────────────────────────────

/** One level's options, checked and in the form that is stored; absent where the level says nothing. */
interface Level {
  queue?: string;
  priority?: number;
  maxRetries?: number | null;
  backoff?: JobSpec["backoff"];
  timeoutMs?: number | null;
  retention?: Partial<Retention>;
  tags?: readonly string[];
}

/** What only a call can say. */
interface Place {
  givenId?: string;
  later?: Later;
}

const SHARED = ["queue", "priority", "maxRetries", "backoff", "timeout", "retention", "tags"] as const;
const CALL_ONLY: readonly string[] = ["id", "in", "at"];
/** Read by `defineJob` itself; named in the list of known options. */
const DEFINITION_ONLY: readonly string[] = ["name", "payload", "run", "thread", "threadMemoryMb"];
/** May be functions of the payload in a definition. */
const COMPUTABLE: readonly string[] = ["queue", "priority", "tags"];
const NOTHING: Level = Object.freeze({});
const NO_PLACE: Place = Object.freeze({});

function levelOf(given: unknown, also: readonly string[], computable: readonly string[] = []): Level {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InvalidOptionError("options", given, `Use an object with any of ${known(also)}.`);
  }
  const level: Level = {};
  for (const [key, value] of Object.entries(given) as [string, unknown][]) {
    if (!SHARED.includes(key as (typeof SHARED)[number]) && !also.includes(key)) {
      throw new InvalidOptionError(key, value, `There is no such option here: use ${known(also)}.`);
    }
    if (value === undefined || (typeof value === "function" && computable.includes(key))) continue;
    switch (key) {
      case "queue":
        level.queue = checkName(value, "queue");
        break;
      case "priority":
        level.priority = checkPriority(value, "priority");
        break;
      case "maxRetries":
        level.maxRetries = checkMaxRetries(value);
        break;
      case "backoff":
        level.backoff = checkBackoff(value);
        break;
      case "timeout":
        level.timeoutMs = toMsOrNull(value as Duration, "timeout", { min: 1 });
        break;
      case "retention":
        level.retention = checkRetention(value);
        break;
      case "tags":
        level.tags = checkTags(value, "tags");
        break;
    }
  }
  return level;
}

function known(also: readonly string[]): string {
  return [...also, ...SHARED].join(", ");
}

/** What the functions of a definition answer, where the call does not say it. */
function computedLevel(definition: AnyJobDefinition, payload: unknown, call: Level): Level {
  const { queue, priority, tags } = definition.options;
  const by = `computed by "${definition.name}"`;
  const level: Level = {};
  if (typeof queue === "function" && call.queue === undefined) {
    level.queue = checkName(queue(payload), `queue, ${by},`);
  }
  if (typeof priority === "function" && call.priority === undefined) {
    level.priority = checkPriority(priority(payload), `priority, ${by},`);
  }
  if (typeof tags === "function" && call.tags === undefined) {
    level.tags = checkTags(tags(payload), `tags, ${by},`);
  }
  return level;
}

function placeOf(call: EnqueueOptions): Place {
  const place: Place = {};
  if (call.id !== undefined) place.givenId = checkName(call.id, "id");
  if (call.in !== undefined && call.at !== undefined) {
    throw new InvalidOptionError("at", call.at, `Use it or \`in\` (here ${show(call.in)}), not both.`);
  }
  if (call.in !== undefined) place.later = { delayMs: toMs(call.in, "in") };
  if (call.at !== undefined) place.later = { at: instantMs(call.at, "at") };
  return place;
}

// ── The part that is the same for every call ─────────────────────────────────

interface Plan {
  readonly resolved: ResolvedOptions;
  /** Whether the definition has functions of the payload. */
  readonly isComputed: boolean;
}

/** By defaults, then by definition: a million equal enqueues are checked once. */
const plans = new WeakMap<JobOptions, WeakMap<AnyJobDefinition, Plan>>();

function planOf(definition: AnyJobDefinition, defaults: JobOptions): Plan {
  let byDefinition = plans.get(defaults);
  if (byDefinition === undefined) {
    byDefinition = new WeakMap();
    plans.set(defaults, byDefinition);
  }
  let plan = byDefinition.get(definition);
  if (plan === undefined) {
    plan = makePlan(definition, defaults);
    byDefinition.set(definition, plan);
  }
  return plan;
}

function makePlan(definition: AnyJobDefinition, defaults: JobOptions): Plan {
  const { options } = definition;
  const levels = [levelOf(builtIn, []), levelOf(defaults, []), levelOf(options, DEFINITION_ONLY, COMPUTABLE)];
  const merged = Object.assign({}, ...levels) as Required<Level>;
  const retention = Object.assign({}, ...levels.map((level) => level.retention)) as Retention;
  return {
    resolved: Object.freeze({ name: definition.name, ...merged, retention: Object.freeze(retention) }),
    isComputed: [options.queue, options.priority, options.tags].some(
      (option) => typeof option === "function",
    ),
  };
}

// ── Single options ───────────────────────────────────────────────────────────

function checkThread({ run, thread, threadMemoryMb }: AnyJobDefinition): void {
  if (thread !== undefined) {
    if (run !== undefined) {
      throw new InvalidOptionError("thread", thread, "Use either `run` or `thread`: a job has one handler.");
    }
    if (!(thread instanceof URL) || thread.protocol !== "file:") {
      throw new InvalidOptionError(
        "thread",
        thread,
        'Use the URL of a file: new URL("./handler.js", import.meta.url).',
      );
    }
  }
  if (threadMemoryMb === undefined) return;
  if (thread === undefined) {
    throw new InvalidOptionError("threadMemoryMb", threadMemoryMb, "It goes with `thread` only.");
  }
  const { threadMemoryMbMin: min, threadMemoryMbMax: max } = limits;
  if (!Number.isInteger(threadMemoryMb) || threadMemoryMb < min || threadMemoryMb > max) {
    throw new InvalidOptionError("threadMemoryMb", threadMemoryMb, `Use an integer from ${min} to ${max}.`);
  }
}

function checkPriority(value: unknown, option: string): number {
  const { priorityMin: min, priorityMax: max } = limits;
  // Adding 0 makes −0 the 0 that it comes back as.
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)
    return (value as number) + 0;
  throw new InvalidOptionError(option, value, `Use an integer from ${min} to ${max}; lower runs first.`);
}

function checkMaxRetries(value: unknown): number | null {
  if (value === Number.POSITIVE_INFINITY) return null;
  if (Number.isSafeInteger(value) && (value as number) >= 0) return (value as number) + 0;
  throw new InvalidOptionError("maxRetries", value, "Use an integer from 0, or Infinity.");
}

function checkRetention(value: unknown): Partial<Retention> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidOptionError("retention", value, "Use an object with any of completed, cancelled, dead.");
  }
  const kept: { -readonly [Key in keyof Retention]?: Retention[Key] } = {};
  for (const [key, given] of Object.entries(value) as [keyof RetentionOptions, Duration | undefined][]) {
    if (key !== "completed" && key !== "cancelled" && key !== "dead") {
      throw new InvalidOptionError(`retention.${String(key)}`, given, "Use completed, cancelled or dead.");
    }
    if (given !== undefined) kept[`${key}Ms`] = toMsOrNull(given, `retention.${key}`);
  }
  return kept;
}

function checkTags(value: unknown, option: string): readonly string[] {
  if (!Array.isArray(value) || value.length > limits.tags) {
    throw new InvalidOptionError(option, value, `Use an array of at most ${limits.tags} words.`);
  }
  return Object.freeze([
    ...new Set(Array.from(value, (tag: unknown) => checkName(tag, `a tag of ${option}`))),
  ]);
}

// ── Schemas ──────────────────────────────────────────────────────────────────

/** Issues of one payload that are reported; a list of a million wrong items is still one mistake. */
const ISSUES_MAX = 100;

function checkSchema(schema: unknown): void {
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
