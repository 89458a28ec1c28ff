/** Rates that are this much lower than before are not noise any more. */
export const SLOWER_THAN = 0.85;

/**
 * What pairs of rates, taken in turn, say of each measure.
 *
 * @param {Record<string, {before: number[], now: number[]}>} rates
 * @returns {{ measure: string, before: number, now: number, ratio: number, isSlower: boolean }[]}
 */
export function judge(rates) {
  return Object.entries(rates).map(([measure, { before, now }]) => {
    // The machine drifts: each pair was taken within seconds, so the pairs are compared and not the sums.
    const ratio = median(now.map((rate, i) => rate / before[i]));
    return { measure, before: median(before), now: median(now), ratio, isSlower: ratio < SLOWER_THAN };
  });
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
