import { InvalidOptionError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import { checkName } from "../../job/name.ts";
import { valueText } from "../../job/payload.ts";
import type { Checkpoint } from "../context.ts";

/**
 * A handler's checkpoint, wherever it runs.
 *
 * @param entries JSON texts by key, kept up with what is saved
 * @param save makes one durable; `null` removes it
 */
export function checkpointOf(
  entries: Map<string, string>,
  save: (key: string, text: string | null) => Promise<unknown>,
): Checkpoint {
  return {
    get: <T>(key: string) => {
      const text = entries.get(key);
      return text === undefined ? undefined : (JSON.parse(text) as T);
    },
    set: async (key, value) => {
      checkName(key, "checkpoint key");
      if (value === undefined) {
        throw new InvalidOptionError(`checkpoint "${key}"`, value, "Use remove() to take an entry away.");
      }
      const text = valueText(`Checkpoint "${key}"`, value, limits.checkpointBytes);
      await save(key, text);
      entries.set(key, text);
    },
    remove: async (key) => {
      checkName(key, "checkpoint key");
      await save(key, null);
      entries.delete(key);
    },
  };
}

/** What `setResult` was given, as JSON text. */
export function earlyResult(value: unknown): string {
  if (value === undefined) {
    throw new InvalidOptionError("setResult", value, "Use a JSON value; null stands for none.");
  }
  return valueText("The result", value, limits.resultBytes);
}

/**
 * How far a run is, as it is stored.
 *
 * @throws InvalidOptionError
 */
export function progressText(done: number, note?: string): string {
  if (typeof done !== "number" || !(done >= 0 && done <= 1)) {
    throw new InvalidOptionError("progress", done, "Use a number from 0 to 1.");
  }
  if (note === undefined) return JSON.stringify({ done });
  if (typeof note !== "string") throw new InvalidOptionError("note", note, "Use a text, or leave it out.");
  // Escapes make it longer; a note only describes, so it is cut and not refused.
  for (let length = Math.min(note.length, limits.progressText); ; length = Math.floor(length / 2)) {
    const text = JSON.stringify({ done, note: note.slice(0, length).toWellFormed() });
    if (text.length <= limits.progressText) return text;
  }
}
