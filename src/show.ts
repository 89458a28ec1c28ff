/** A value as an error message quotes it: short, never throwing, strings in quotes. */
export function show(value: unknown): string {
  if (typeof value === "string") {
    const quoted = JSON.stringify(value);
    return quoted.length > 120 ? `${quoted.slice(0, 117)}…"` : quoted;
  }
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "an Invalid Date" : value.toISOString();
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return String(value);
}
