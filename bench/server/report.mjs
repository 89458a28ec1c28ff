import { median, printTable } from "../print.mjs";

/** A row a measure; the ratio is the median of those of each round, in which both ways stood side by side. */
export function rowsOf(place, measures, samples) {
  return measures.flatMap((measure) => {
    const of = (way) => samples.get(`${place} ${measure.key} ${way}`) ?? [];
    const [direct, served] = [of("direct"), of("server")];
    const row = (title, pick) => {
      const values = { direct: direct.map(pick), server: served.map(pick) };
      const ratios = values.server.map((value, i) => value / values.direct[i]);
      return {
        place,
        key: measure.key,
        title,
        unit: measure.isTime ? "ms" : "jobs/s",
        direct: median(values.direct),
        server: median(values.server),
        ratio: median(ratios),
        values,
      };
    };
    if (measure.isTime) {
      return [
        row(`${measure.title}, p50`, ({ value }) => value),
        row(`${measure.title}, p99`, ({ p99 }) => p99),
      ];
    }
    const rate = row(measure.title, ({ value }) => value);
    if (!measure.isDrain) return [rate];
    const cpu = (found, key) => median(found.map((sample) => sample[key]));
    return [
      {
        ...rate,
        limited: [...direct, ...served].some(({ limited }) => limited),
        cpuMicros: {
          direct: cpu(direct, "clientMicros"),
          clients: cpu(served, "clientMicros"),
          server: cpu(served, "serverMicros"),
        },
        aims: aimsOf(measure.aim[place], rate),
      },
    ];
  });
}

export function printReport(title, rows) {
  printTable(title, [
    ["median of the rounds", "direct", "through the server", "ratio", "aim", "CPU a job, µs"],
    ...rows.map(({ title: name, unit, direct, server, ratio, aims = [], cpuMicros, limited }) => [
      `${name}, ${unit}`,
      short(direct),
      `${short(server)}${limited ? " *" : ""}`,
      `${ratio.toFixed(2)} ×`,
      aims.map(({ text, reached }) => `${text} ${reached ? "✓" : "✗ missed"}`).join(", "),
      cpuMicros === undefined
        ? ""
        : `direct ${cpuMicros.direct.toFixed(0)}; server ${cpuMicros.server.toFixed(0)} + clients ${cpuMicros.clients.toFixed(0)}`,
    ]),
  ]);
  if (rows.some(({ limited }) => limited)) console.log("  * stopped when its time was up: the rate so far\n");
}

function aimsOf({ share, rate }, found) {
  const aims = [{ text: `≥ ${share} ×`, reached: found.ratio >= share }];
  if (rate !== undefined) aims.push({ text: `≥ ${short(rate)} jobs/s`, reached: found.server >= rate });
  return aims;
}

function short(value) {
  if (value >= 10_000) return `${(value / 1_000).toFixed(1)}k`;
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}
