// @ts-check
// OpenTelemetry is set up before connect, and jobs are traced by themselves: the run leads back to its enqueue.
import { trace } from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { connect, defineJob, json } from "jobwright";

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
trace.setGlobalTracerProvider(provider);

const greet = defineJob({
  name: "greet",
  payload: /** @type {import("jobwright").StandardSchema<{ who: string, team: string }>} */ (json()),
  // Nothing of a payload is in a span, unless its definition says so.
  spanAttributes: ({ team }) => ({ "app.team": team }),
  run: ({ who }) => `Hello, ${who}!`,
});

const jobs = await connect("memory:");
await jobs.worker([greet]).start();
const handle = await jobs.enqueue(greet, { who: "Ada", team: "blue" });
await handle.result({ timeout: "10s" });
await jobs.close();

const [enqueue, run] = exporter.getFinishedSpans();
console.log(enqueue?.name);
console.log(run?.name, run?.attributes["jobwright.job.outcome"], run?.attributes["app.team"]);
console.log("linked:", run?.links[0]?.context.spanId === enqueue?.spanContext().spanId);

// prints:
// jobwright.enqueue greet
// jobwright.run greet completed blue
// linked: true
