import type * as OpenTelemetry from "@opentelemetry/api";
import type { Span, SpanContext } from "@opentelemetry/api";
import { limits } from "../job/limits.ts";

const TRACEPARENT = /^[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})/;

/**
 * A span as it is stored with a job: W3C `traceparent`, and `tracestate` behind a line break when there is one and it
 * fits. `undefined` for a span that leads nowhere.
 */
export function traceOf(api: typeof OpenTelemetry, span: Span): string | undefined {
  const context = span.spanContext();
  if (!api.isSpanContextValid(context)) return undefined;
  const { traceId, spanId, traceFlags, traceState } = context;
  const parent = `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, "0")}`;
  const state = traceState?.serialize() ?? "";
  const whole = `${parent}\n${state}`;
  return /^[\x20-\x7e]+$/.test(state) && whole.length <= limits.traceText ? whole : parent;
}

/** What {@link traceOf} stored, for a link. */
export function contextOf(api: typeof OpenTelemetry, text: string | undefined): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(text ?? "") ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const [, state] = (text ?? "").split("\n");
  const context: SpanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(state === undefined ? {} : { traceState: api.createTraceState(state) }),
  };
  return api.isSpanContextValid(context) ? context : undefined;
}
