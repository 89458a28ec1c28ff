import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError, UnrecoverableError } from "../errors.ts";
import { show } from "../show.ts";
import { limits } from "./limits.ts";

/** A later start: after a delay that the storage's clock turns into an instant, or at an instant. */
export type Later = { readonly delayMs: number } | { readonly at: number };

/** What a handler may return, besides its result, to say what should happen next. */
export type Directive =
  | { readonly kind: "snooze"; readonly later: Later }
  | { readonly kind: "reschedule"; readonly later: Later }
  | { readonly kind: "cancel"; readonly reason: string };

/** Directives are told from results by identity of class, never by shape: any JSON is a valid result. */
class DirectiveValue {
  readonly directive: Directive;
  constructor(directive: Directive) {
    this.directive = directive;
  }
}

/** The type of {@link snooze}, {@link reschedule} and {@link cancel}: no result. */
export type NoResult = DirectiveValue;

export function directiveOf(value: unknown): Directive | undefined {
  return value instanceof DirectiveValue ? value.directive : undefined;
}

/**
 * Return it from a handler when it is too early: the job runs again later. Not a failure, no attempt is
 * spent, the checkpoint is kept.
 *
 * @throws InvalidOptionError
 */
export function snooze(until: Duration | Date): NoResult {
  return new DirectiveValue({ kind: "snooze", later: later(until, "snooze") });
}

/**
 * Return it from a handler when this cycle is done: the same job runs again later, its attempts start
 * anew, the checkpoint is kept.
 *
 * @throws InvalidOptionError
 */
export function reschedule(when: Duration | Date): NoResult {
  return new DirectiveValue({ kind: "reschedule", later: later(when, "reschedule") });
}

/** Return it from a handler to end the job as cancelled, with a reason for whoever looks. */
export function cancel(reason: string): NoResult {
  return new DirectiveValue({ kind: "cancel", reason: reasonText(reason) });
}

/** Throw it to fail this attempt and choose the wait before the next one. */
export class RetryAfter extends Error {
  readonly delayMs: number;
  /** @throws InvalidOptionError */
  constructor(delay: Duration, message = "The handler asked for a retry.", options?: ErrorOptions) {
    super(message, options);
    this.name = "RetryAfter";
    this.delayMs = toMs(delay, "RetryAfter");
  }
}

export { UnrecoverableError };

/** A duration or a date as stored; refuses `Invalid Date` and instants after year 9999. */
export function later(value: Duration | Date, option: string): Later {
  if (value instanceof Date) return { at: instantMs(value, option) };
  return { delayMs: toMs(value, option) };
}

/** @throws InvalidOptionError */
export function instantMs(value: Date, option: string): number {
  const at = value instanceof Date ? value.getTime() : Number.NaN;
  if (Number.isNaN(at) || at > limits.instantMax) {
    throw new InvalidOptionError(option, value, "Use a valid Date up to the year 9999.");
  }
  // Any instant of the past means now; engines need not order instants before 1970.
  return Math.max(0, at);
}

/** A reason as stored: text, bounded. */
export function reasonText(reason: string): string {
  return (typeof reason === "string" ? reason : show(reason)).slice(0, 1_000);
}
