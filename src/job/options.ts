import { type Duration, toMs, toMsOrNull } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import { show } from "../show.ts";
import { checkBackoff, exponential } from "./backoff.ts";
import type { AnyJobDefinition, JobOptions } from "./definition.ts";
import type { JobSpec, Retention } from "./job.ts";
import {
  areComputed,
  KEY_OPTIONS,
  type KeyOptions,
  type KeyRules,
  keyRules,
  laidOver,
  resolveKeys,
} from "./key-options.ts";
import { limits } from "./limits.ts";
import { checkName } from "./name.ts";
import {
  checkConcurrency,
  checkAround,
  checkMaxRetries,
  checkPriority,
  checkResetAttempts,
  checkRetention,
  checkTags,
  checkThread,
} from "./option-checks.ts";
import { instantMs, type Later } from "./outcome.ts";
import { checkSchema } from "./validation.ts";

/** Options of one `enqueue`; they win over the definition's, those of `connect`, and the built-in ones. */
export interface EnqueueOptions extends JobOptions, KeyOptions {
  /**
   * An id of your own, 1 to 200 characters. Enqueueing it again with the same payload answers with the job
   * that has it, with another payload fails; free again when the finished job is pruned. Not together with `unique`.
   */
  readonly id?: string;
  /** Start this much later. Not together with `at`. */
  readonly in?: Duration;
  /** Start at this instant; one that has passed means now. Not together with `in`. */
  readonly at?: Date;
  /**
   * The trace it belongs to: a W3C `traceparent`, with a `tracestate` behind a line break if there is one.
   * @default the active span's, where OpenTelemetry is set up
   */
  readonly trace?: string;
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
 * @param text the payload as it is stored, for keys that are made of it
 * @param defaults as answered by {@link checkDefaults}, the same object for every call
 * @throws InvalidOptionError
 */
export function resolveOptions(
  definition: AnyJobDefinition,
  payload: unknown,
  call: EnqueueOptions | undefined,
  defaults: JobOptions,
  text: string,
): ResolvedOptions {
  const plan = planOf(definition, defaults);
  if (call === undefined && !plan.isComputed) return plan.resolved;
  const level = call === undefined ? NOTHING : levelOf(call, CALL_ONLY);
  const resolved: ResolvedOptions = {
    ...plan.fixed,
    ...(plan.isComputed ? computedLevel(definition, payload, level) : NOTHING),
    ...level,
    retention: { ...plan.fixed.retention, ...level.retention },
    ...(call === undefined
      ? resolveKeys(plan.keys, definition.name, payload, text)
      : {
          ...resolveKeys(laidOver(plan.keys, keyRules(call, false)), definition.name, payload, text),
          ...placeOf(call),
        }),
  };
  if (resolved.unique !== undefined && resolved.givenId !== undefined) {
    throw new InvalidOptionError(
      "id",
      resolved.givenId,
      "It is a key of its own kind. Use it, or `unique`, not both; `unique: false` takes back what the definition says.",
    );
  }
  return resolved;
}

/** The options of a definition's jobs where a call says nothing and no payload is asked; without keys. */
export function fixedOptions(definition: AnyJobDefinition, defaults: JobOptions): ResolvedOptions {
  return planOf(definition, defaults).fixed;
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
  checkAround(definition);
  keyRules(definition.options, true);
  checkResetAttempts(definition.options.resetAttempts);
  checkConcurrency(definition.options.concurrency);
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
  trace?: string;
}

/** The options that stand at every level. */
export const SHARED: readonly string[] = [
  "queue",
  "priority",
  "maxRetries",
  "backoff",
  "timeout",
  "retention",
  "tags",
];
const CALL_ONLY: readonly string[] = ["id", "in", "at", "trace", ...KEY_OPTIONS];
/** Read elsewhere: by `defineJob` itself, by the worker, or with the keys; named in the list of known options. */
const DEFINITION_ONLY: readonly string[] = [
  "name",
  "payload",
  "run",
  "thread",
  "threadMemoryMb",
  "setup",
  "middleware",
  "spanAttributes",
  "resetAttempts",
  "concurrency",
  ...KEY_OPTIONS,
];
/** May be functions of the payload in a definition. */
const COMPUTABLE: readonly string[] = ["queue", "priority", "tags"];
const NOTHING: Level = Object.freeze({});

function levelOf(given: unknown, also: readonly string[], computable: readonly string[] = []): Level {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InvalidOptionError("options", given, `Use an object with any of ${known(also)}.`);
  }
  const level: Level = {};
  for (const [key, value] of Object.entries(given) as [string, unknown][]) {
    if (!SHARED.includes(key) && !also.includes(key)) {
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
  if (call.trace !== undefined) place.trace = checkTrace(call.trace);
  return place;
}

/** `traceparent` as of level 1, which later versions may only make longer; `tracestate` is printable. */
const TRACE = /^[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?:\n[\x20-\x7e]+)?$/;

function checkTrace(value: unknown): string {
  if (typeof value === "string" && value.length <= limits.traceText && TRACE.test(value)) return value;
  throw new InvalidOptionError(
    "trace",
    value,
    `Use a W3C traceparent, "00-<32 hex>-<16 hex>-01", with a tracestate behind a line break or none; ` +
      `at most ${limits.traceText} characters.`,
  );
}

// ── The part that is the same for every call ─────────────────────────────────

interface Plan {
  /** All but keys. */
  readonly fixed: ResolvedOptions;
  readonly keys: KeyRules;
  /** With keys, where no payload has to be asked for them. */
  readonly resolved: ResolvedOptions;
  /** Whether something depends on the payload. */
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
  const fixed = Object.freeze({ name: definition.name, ...merged, retention: Object.freeze(retention) });
  const keys = keyRules(options, true);
  const hasKeys = Object.keys(keys).length > 0;
  const isComputed =
    areComputed(keys) ||
    [options.queue, options.priority, options.tags].some((option) => typeof option === "function");
  return {
    fixed,
    keys,
    resolved:
      isComputed || !hasKeys
        ? fixed
        : Object.freeze({ ...fixed, ...resolveKeys(keys, definition.name, undefined, "null") }),
    isComputed,
  };
}
