import { ENDS, STEPS } from "./acts.ts";
import type { Draw } from "./draw.ts";

// Payloads and options of calls, as code. Few values each: what makes jobs meet each other is worth more.

export const KEYS: readonly string[] = ["a", "b"];
export const QUEUES: readonly string[] = ["default", "mail", "side"];

export function payloadCode(draw: Draw): string {
  const n = draw.int(6);
  const key = draw.chance(0.75) ? `, key: "${draw.pick(KEYS)}"` : "";
  return `{ n: ${n}${key}${draw.chance(0.6) ? `, acts: ${actsCode(draw)}` : ""} }`;
}

/** By attempt: what the handler does, and how it ends. */
function actsCode(draw: Draw): string {
  const attempts = draw.list(1, 3, () => {
    const steps = draw.chance(0.5) ? draw.list(1, 2, () => draw.pick(STEPS)) : [];
    return [...steps, draw.pick(ENDS)];
  });
  return JSON.stringify(attempts);
}

/** Of one `enqueue`, with the comma before it; empty for none. */
export function optionsCode(draw: Draw): string {
  if (draw.chance(0.25)) return "";
  const options = [
    ...common(draw),
    ...start(draw),
    ...(draw.chance(0.15) ? [`id: "given-${draw.pick(KEYS)}"`] : []),
  ];
  return options.length === 0 ? "" : `, { ${options.join(", ")} }`;
}

/** Of one `enqueueMany`. */
export function manyOptionsCode(draw: Draw): string {
  const options = draw.chance(0.5) ? [...common(draw), ...start(draw)] : [];
  return options.length === 0 ? "" : `, { ${options.join(", ")} }`;
}

export function itemCode(draw: Draw, names: readonly string[]): string {
  return `item(${draw.pick(names)}, { n: ${draw.int(4)}, key: "${draw.pick(KEYS)}", at: "2030-01-01T10:00:00Z" }${optionsCode(draw)})`;
}

/** A schedule, made by a call (`jobs.`) or declared. */
export function scheduleCode(
  draw: Draw,
  on: string,
  kind: "every" | "cron" = draw.pick(["every", "cron"]),
): string {
  const timing =
    kind === "every"
      ? draw.pick(["30s", "7m", "1h", "6h", "1d"])
      : draw.pick(["*/5 * * * *", "*/20 0 * * * *", "0 9 * * 1-5", "30 2 * * *", "0 0 1 * *"]);
  const options: string[] = [`key: "${draw.pick(["tick", "tock"])}"`];
  if (draw.chance(0.2)) options.shift();
  if (kind === "cron" && draw.chance(0.5))
    options.push(`zone: "${draw.pick(["Europe/Berlin", "Asia/Kathmandu"])}"`);
  if (draw.chance(0.5)) options.push(`missed: "${draw.pick(["skip", "once", "all"])}"`);
  if (draw.chance(0.5)) options.push(`overlap: "${draw.pick(["skip", "allow"])}"`);
  if (draw.chance(0.3)) options.push(`first: "${draw.pick(["now", "later"])}"`);
  if (draw.chance(0.15)) options.push(`startAt: at("${draw.pick(["1m", "1h"])}")`);
  if (draw.chance(0.15)) options.push(`until: at("${draw.pick(["10m", "2d"])}")`);
  if (draw.chance(0.4)) options.push(...common(draw));
  const given = options.length === 0 ? "" : `, { ${options.join(", ")} }`;
  return `${on}${kind}("${timing}", ${draw.pick(["plain", "mail"])}, { n: ${draw.int(10)} }${given})`;
}

/** What stands at calls and schedules alike. */
function common(draw: Draw): string[] {
  const options: string[] = [];
  if (draw.chance(0.2)) options.push(`priority: ${draw.int(5) - 2}`);
  if (draw.chance(0.15)) options.push(`queue: "${draw.pick(QUEUES)}"`);
  if (draw.chance(0.2)) options.push(`tags: ${draw.pick(['["red"]', '["red", "blue"]', "[]"])}`);
  if (draw.chance(0.25)) options.push(`maxRetries: ${draw.pick(["0", "0", "1", "2", "Infinity"])}`);
  if (draw.chance(0.1))
    options.push(`backoff: ${draw.pick(['fixed("5s")', 'linear({ step: "1s" })', "exponential()"])}`);
  if (draw.chance(0.15)) options.push(`retention: ${retention(draw)}`);
  if (draw.chance(0.05)) options.push('timeout: "1h"');
  if (draw.chance(0.5)) options.push(`unique: ${unique(draw)}`);
  if (draw.chance(0.3)) options.push(limit(draw));
  return options;
}

function start(draw: Draw): string[] {
  if (draw.chance(0.75)) return [];
  return [
    draw.chance(0.6)
      ? `in: "${draw.pick(["0ms", "1s", "30s", "1h"])}"`
      : `at: at("${draw.pick(["-1h", "0s", "30s", "10m"])}")`,
  ];
}

function retention(draw: Draw): string {
  const kept = (): string => draw.pick(["0", '"1m"', '"1h"', "Infinity"]);
  return draw.pick([
    `{ completed: ${kept()} }`,
    `{ dead: ${kept()} }`,
    `{ completed: 0, cancelled: ${kept()}, dead: ${kept()} }`,
  ]);
}

function unique(draw: Draw): string {
  if (draw.chance(0.3)) return draw.pick(["true", "false", '"a"', '"b"']);
  const fields: string[] = [];
  if (draw.chance(0.85)) fields.push(`key: ${draw.pick(['"a"', '"a"', '"b"', "7"])}`);
  if (draw.chance(0.5)) fields.push(`while: "${draw.pick(["waiting", "live"])}"`);
  if (draw.chance(0.3)) fields.push(`for: ${draw.pick(['"30s"', '"1h"', "Infinity"])}`);
  if (draw.chance(0.3)) fields.push(`scope: "${draw.pick(["definition", "all"])}"`);
  if (draw.chance(0.6)) fields.push(`onConflict: "${draw.pick(["keep", "replace", "replace", "error"])}"`);
  if (draw.chance(0.25)) fields.push(`inherit: ${draw.pick(["true", "false"])}`);
  return `{ ${fields.join(", ")} }`;
}

function limit(draw: Draw): string {
  return draw.pick([
    "limit: 1",
    "limit: 2",
    "limit: false",
    'limit: { key: "a", concurrency: 1 }',
    'limit: { key: "b", concurrency: 2, scope: "all" }',
    'concurrencyKey: "a"',
    "concurrencyKey: 7",
  ]);
}
