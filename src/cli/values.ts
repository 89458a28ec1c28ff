import { InvalidOptionError } from "../errors.ts";
import type { WorkerSettings } from "../worker/options.ts";

/** A whole number as it is written in a command line. @throws InvalidOptionError */
export function wholeNumber(text: string, option: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidOptionError(option, text, "Use a whole number.");
}

/** The same, where absent stays absent. */
export function wholeNumberIf(text: string | undefined, option: string): number | undefined {
  return text === undefined ? undefined : wholeNumber(text, option);
}

/**
 * Queues as they are written in a command line: `mail,images=5`, or `*` for all.
 *
 * @throws InvalidOptionError
 */
export function queuesFrom(
  text: string,
  concurrency: number | undefined,
): NonNullable<WorkerSettings["queues"]> {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.length === 1 && parts[0] === "*") return "*";
  const queues: [string, number | undefined][] = parts.map((part) => {
    const [, name = part, slots] = /^(.*)=(\d{1,9})$/s.exec(part) ?? [];
    if (name === "*") {
      throw new InvalidOptionError(
        "--queues",
        text,
        "`*` stands alone: a worker of all queues gives each as many slots as --concurrency says.",
      );
    }
    if (name === "") throw new InvalidOptionError("--queues", text, "Use names, as in mail,images=5.");
    return [name, slots === undefined ? undefined : Number(slots)];
  });
  if (queues.every(([, slots]) => slots === undefined)) return queues.map(([name]) => name);
  // Without a prototype: a queue may have any name.
  const bySlots = Object.create(null) as Record<string, number>;
  for (const [name, slots] of queues) bySlots[name] = slots ?? concurrency ?? CONCURRENCY;
  return bySlots;
}

/** What a worker gives a queue when nobody says. */
const CONCURRENCY = 10;
