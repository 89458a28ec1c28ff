import { connect } from "node:net";
import type { Host, Shared } from "./host.ts";
import type { Template } from "./template.ts";

/** Tells the processes of a run on which port of 127.0.0.1 the one that starts servers is asked. */
export const ASK_VARIABLE = "JOBWRIGHT_TEST_POSTGRES";

export interface Answers {
  readonly shared: Shared;
  readonly template: Template;
}

/** What goes back, as one JSON text. */
export type Reply = { readonly answer: unknown } | { readonly error: string };

let own: Promise<Host> | undefined;

/**
 * Ask the process that started this run, so that one server serves all files. Programs without one, such
 * as benchmarks, make their own.
 */
export async function ask<Q extends keyof Answers>(question: Q): Promise<Answers[Q]> {
  const port = process.env[ASK_VARIABLE];
  if (port === undefined) {
    own ??= import("./host.ts").then((module) => new module.Host());
    return (await (await own)[question]()) as Answers[Q];
  }
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(Number(port), "127.0.0.1", () => socket.write(question));
    let received = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (received += chunk));
    socket.once("error", reject).once("close", () => resolve(received));
  }).catch(() => "");
  if (text === "") throw new Error("The process that starts PostgreSQL for this run is gone.");
  const reply = JSON.parse(text) as Reply;
  if ("error" in reply) throw new Error(reply.error);
  return reply.answer as Answers[Q];
}

/** End what `ask` made in a program of its own, before that program ends and it goes by itself. */
export async function endOwn(): Promise<void> {
  const host = own;
  own = undefined;
  await (await host)?.close();
}
