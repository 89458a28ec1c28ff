import { cut, visible, widthOf } from "./visible.ts";

/** Between two columns. */
const GAP = "  ";
/** A column is not made narrower than this. */
const COLUMN_MIN = 6;

/**
 * Rows under a head, in columns, a line each. On a terminal no line is longer than it is wide: what takes the
 * most room is cut off with a "…". Everything in the cells is made visible.
 *
 * @param columns places in a line; `undefined` = as many as it takes
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number | undefined,
): string {
  const cells = [head, ...rows].map((row) => row.map(visible));
  const widths = fitted(
    head.map((_, index) => Math.max(...cells.map((row) => widthOf(row[index] ?? "")))),
    columns,
  );
  return cells.map((row) => `${lineOf(row, widths, columns)}\n`).join("");
}

/** Names and values below each other: one thing in full. Long values are not cut off. */
export function sheet(entries: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries
    .map(([name, value]) => `${name.padEnd(width)}${GAP}${visible(value)}`.trimEnd() + "\n")
    .join("");
}

function lineOf(row: readonly string[], widths: readonly number[], columns: number | undefined): string {
  const line = row
    .map((cell, index) => {
      const width = widths[index] ?? 0;
      const text = cut(cell, width);
      return text + " ".repeat(Math.max(0, width - widthOf(text)));
    })
    .join(GAP)
    .trimEnd();
  return columns === undefined ? line : cut(line, columns);
}

/** The widest columns give way until the line fits, or none can. */
function fitted(widths: readonly number[], columns: number | undefined): number[] {
  const fitting = [...widths];
  if (columns === undefined) return fitting;
  let excess = fitting.reduce((sum, width) => sum + width, 0) + GAP.length * (fitting.length - 1) - columns;
  for (; excess > 0; excess -= 1) {
    const widest = Math.max(...fitting);
    if (widest <= COLUMN_MIN) break;
    fitting[fitting.indexOf(widest)] = widest - 1;
  }
  return fitting;
}
