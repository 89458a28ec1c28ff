import { FINAL_STATES, JOB_STATES } from "../job/job.ts";
import type { Storage } from "../storage/storage.ts";
import type { Counters } from "./counters.ts";

/** Lanes told one by one; the others are added up, so that names made by data cannot flood a monitor. */
const LANES = 500;

/** The state of a server in the text format that Prometheus reads. */
export async function metricsText(storage: Storage, counters: Counters): Promise<string> {
  const page = new Page();
  page.add("jobwright_server_connections", "gauge", "Clients connected now.", [[{}, counters.connections]]);
  page.add("jobwright_server_accepted_total", "counter", "Clients that were let in.", [
    [{}, counters.accepted],
  ]);
  page.add("jobwright_server_refused_total", "counter", "Clients that were refused.", [
    [{}, counters.refused],
  ]);
  page.add("jobwright_server_malformed_total", "counter", "Connections ended for what they sent.", [
    [{}, counters.malformed],
  ]);
  page.add("jobwright_server_slow_total", "counter", "Connections ended because they did not read.", [
    [{}, counters.slow],
  ]);
  page.add("jobwright_server_bytes_total", "counter", "Bytes of frames.", [
    [{ direction: "in" }, counters.bytesIn],
    [{ direction: "out" }, counters.bytesOut],
  ]);
  page.add("jobwright_server_frames_total", "counter", "Frames.", [
    [{ direction: "in" }, counters.framesIn],
    [{ direction: "out" }, counters.framesOut],
  ]);
  const calls = [...counters.calls];
  page.add(
    "jobwright_server_calls_total",
    "counter",
    "Calls by method.",
    calls.map(([method, { calls: n }]) => [{ method }, n]),
  );
  page.add(
    "jobwright_server_call_failures_total",
    "counter",
    "Calls that failed, by method.",
    calls.map(([method, { failures }]) => [{ method }, failures]),
  );
  page.add(
    "jobwright_server_call_seconds_total",
    "counter",
    "Time that calls took, by method.",
    calls.map(([method, { ms }]) => [{ method }, ms / 1_000]),
  );
  await addStorage(page, storage);
  return page.toString();
}

async function addStorage(page: Page, storage: Storage): Promise<void> {
  let isUp = 1;
  try {
    const [{ lanes, pausedQueues }, processes, { total }] = await Promise.all([
      storage.lanes(),
      storage.processes(),
      storage.stats({}),
    ]);
    const jobs: [Labels, number][] = [];
    const rest = new Map<string, number>();
    for (const [index, { queue, name, counts }] of lanes.entries()) {
      for (const state of JOB_STATES) {
        if (index < LANES) jobs.push([{ queue, name, state }, counts[state]]);
        else rest.set(state, (rest.get(state) ?? 0) + counts[state]);
      }
    }
    for (const [state, n] of rest) jobs.push([{ queue: "(others)", name: "(others)", state }, n]);
    page.add("jobwright_jobs", "gauge", "Jobs by queue, name and state.", jobs);
    page.add("jobwright_enqueued_total", "counter", "Jobs that were ever enqueued.", [[{}, total.enqueued]]);
    page.add(
      "jobwright_ended_total",
      "counter",
      "Jobs that ever ended, by how.",
      FINAL_STATES.map((state) => [{ state }, total[state]]),
    );
    page.add("jobwright_paused_queues", "gauge", "Queues that are paused.", [[{}, pausedQueues.length]]);
    const living = processes.filter(({ lost }) => !lost).length;
    page.add("jobwright_processes", "gauge", "Processes that work.", [
      [{ state: "living" }, living],
      [{ state: "lost" }, processes.length - living],
    ]);
  } catch {
    isUp = 0;
  }
  page.add("jobwright_storage_up", "gauge", "Whether the storage answers.", [[{}, isUp]]);
}

type Labels = Readonly<Record<string, string>>;

class Page {
  readonly #lines: string[] = [];

  add(
    name: string,
    type: "gauge" | "counter",
    help: string,
    values: readonly (readonly [Labels, number])[],
  ): void {
    if (values.length === 0) return;
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of values) {
      const shown = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
      this.#lines.push(`${name}${shown.length === 0 ? "" : `{${shown.join()}}`} ${value}`);
    }
  }

  toString(): string {
    return `${this.#lines.join("\n")}\n`;
  }
}

/** A name is data: it must not begin a line of its own. */
function escapeLabel(text: string): string {
  return text.toWellFormed().replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
