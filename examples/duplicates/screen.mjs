// @ts-check
// What is shown on the terminal. File names are data from strangers: they never steer it.

const isTerminal = process.stdout.isTTY === true;
/** The changing line as it stands; and when it was last printed, where there is no terminal. */
let live = "";
let printed = "";
let printedAt = -Infinity;

/**
 * A line that stays.
 *
 * @param {string} text
 */
export function say(text = "") {
  if (isTerminal && live !== "") process.stdout.write(CLEAR);
  process.stdout.write(`${text}\n`);
  if (isTerminal && live !== "") process.stdout.write(live);
}

/**
 * The one line that changes. Where there is no terminal it is a new line, once a second.
 *
 * @param {string} text
 */
export function show(text) {
  live = isTerminal ? text.slice(0, (process.stdout.columns || 80) - 1) : text;
  if (isTerminal) process.stdout.write(CLEAR + live);
  else if (performance.now() - printedAt >= 1_000) print();
}

/** Let the changing line stay as it is. */
export function keep() {
  if (isTerminal && live !== "") process.stdout.write("\n");
  else if (live !== printed) print();
  live = "";
  printed = "";
}

function print() {
  process.stdout.write(`${live}\n`);
  printed = live;
  printedAt = performance.now();
}

const CLEAR = "\r\u001b[2K";

/**
 * @param {number} done
 * @param {number} all
 */
export function bar(done, all) {
  const filled = all === 0 ? BAR : Math.floor((BAR * done) / all);
  return "█".repeat(filled) + "░".repeat(BAR - filled);
}

const BAR = 24;

/**
 * A text from outside, safe to print: what could move the cursor, forge a line or turn the reading direction
 * is shown as an escape.
 *
 * @param {string} text
 */
export function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
    const known = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    return known ?? `\\u{${character.codePointAt(0)?.toString(16)}}`;
  });
}

/**
 * A text cut in its middle, where paths are least telling.
 *
 * @param {string} text
 * @param {number} length
 */
export function shortened(text, length) {
  const characters = [...text];
  if (characters.length <= length) return text;
  const head = Math.floor((length - 1) / 3);
  return `${characters.slice(0, head).join("")}…${characters.slice(head + 1 - length).join("")}`;
}

/**
 * @param {number} n
 * @param {string} one
 * @param {string} many
 */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
