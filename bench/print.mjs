export function perSecond(n, from) {
  return Math.round((n / (performance.now() - from)) * 1_000);
}

export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

export function percentile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** A title and rows of text, columns aligned. */
export function printTable(title, rows) {
  console.log(title);
  const widths = [];
  for (const row of rows)
    row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, String(cell).length)));
  for (const row of rows)
    console.log(
      `  ${row
        .map((cell, i) => String(cell).padEnd(widths[i]))
        .join("   ")
        .trimEnd()}`,
    );
  console.log();
}
