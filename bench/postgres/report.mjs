import { median, printTable } from "../print.mjs";

/**
 * One table: a row a measure, a column a contender, and ours as a multiple of the best peer and of the floor.
 *
 * @param {{ measures: object[], contenders: object[], samples: Map<string, object[]> }} run
 */
export function printReport(title, run) {
  const rows = rowsOf(run);
  const head = ["median (min–max)", ...run.contenders.map(({ title: name }) => name)];
  printTable(title, [
    [...head, "ours ÷ best peer", "ours ÷ floor", "aim", "durable"],
    ...rows.map(({ title: name, cells, toPeer, peer, toFloor, aim, reached, durability, unit }) => [
      `${name}, ${unit}`,
      ...cells.map(cell),
      toPeer === undefined ? "–" : `${toPeer.toFixed(2)} × ${peer}`,
      toFloor === undefined ? "–" : `${toFloor.toFixed(2)} ×`,
      aim === undefined ? "" : `${aim}${reached === undefined ? "" : reached ? " ✓" : " ✗ missed"}`,
      durability,
    ]),
  ]);
}

/** The same as data. */
export function rowsOf({ measures, contenders, samples }) {
  return measures.flatMap((measure) => {
    const row = (title, unit, pick, more) => {
      const cells = contenders.map((contender) => {
        const found = samples.get(`${measure.key} ${contender.key}`) ?? [];
        if (found.length === 0) return undefined;
        const values = found.map(pick);
        return {
          contender: contender.key,
          median: median(values),
          min: Math.min(...values),
          max: Math.max(...values),
          values,
          limited: found.some(({ limited }) => limited),
        };
      });
      return { key: measure.key, title, unit, durability: measure.durability, cells, ...more(cells) };
    };
    const compare = (cells) => {
      const own = cells.find((one) => one?.contender === "ours");
      const floor = cells.find((one) => one?.contender === "floor");
      const better = measure.isTime ? (a, b) => a.median - b.median : (a, b) => b.median - a.median;
      const peers = contenders.flatMap(({ peer }, i) =>
        peer === undefined || cells[i] === undefined ? [] : [{ ...cells[i], peer }],
      );
      const [best] = peers.toSorted(better);
      const against = measure.aim?.against;
      const [aimed] = peers.filter(({ peer }) => against === undefined || peer === against).toSorted(better);
      const ratio = (other) =>
        own === undefined || other === undefined ? undefined : own.median / other.median;
      const reachedTimes = ratio(aimed);
      return {
        toPeer: ratio(best),
        peer: best?.contender,
        toFloor: ratio(floor),
        aim:
          measure.aim?.ms === undefined
            ? `≥ ${measure.aim?.times} × ${against ?? "best"}`
            : `≤ ${measure.aim.ms} ms`,
        reached:
          own === undefined
            ? undefined
            : measure.aim?.ms === undefined
              ? reachedTimes === undefined
                ? undefined
                : reachedTimes >= measure.aim.times
              : own.median <= measure.aim.ms,
      };
    };
    const value = ({ value: one }) => one;
    if (!measure.isTime) return [row(measure.title, "jobs/s", value, compare)];
    const noAim = (cells) => ({ ...compare(cells), aim: undefined, reached: undefined });
    return [
      row(`${measure.title}, p50`, "ms", value, compare),
      row(`${measure.title}, p99`, "ms", ({ p99 }) => p99, noAim),
    ];
  });
}

function cell(found) {
  if (found === undefined) return "–";
  const { median: middle, min, max } = found;
  return `${short(middle)} (${short(min)}–${short(max)})${found.limited ? " *" : ""}`;
}

function short(value) {
  if (value >= 10_000) return `${(value / 1_000).toFixed(1)}k`;
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}
