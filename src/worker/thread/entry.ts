import { parentPort } from "node:worker_threads";
import { StateError } from "../../errors.ts";
import type { RunEnd } from "../../job/lifecycle.ts";
import { runScope } from "../../run-scope.ts";
import { endOfReturn, endOfThrow } from "./ending.ts";
import { loadHandler } from "./handler.ts";
import { Link } from "./link.ts";
import type { ThreadTask } from "./messages.ts";
import { HandlerContext } from "./handler-context.ts";

/**
 * Runs one handler in this thread. Called by the pool, one run at a time; what it answers is data, and it never
 * throws: a pool that sees a rejection knows that the thread has died.
 */
export async function runHandler({ port, module }: ThreadTask): Promise<RunEnd> {
  closeSideEntrance();
  const link = new Link(port);
  const end = await endOfHandler(module, link);
  // Calls that nobody waited for were made all the same.
  await link.sentAll();
  link.end();
  return end;
}

async function endOfHandler(module: string, link: Link): Promise<RunEnd> {
  try {
    const start = await link.begin();
    const handler = await loadHandler(module);
    const ctx = new HandlerContext(start, link);
    const run = (): unknown => handler(start.payload, ctx);
    // Asked now: the module of the handler may have been the first to want to know.
    const { enter } = runScope;
    const { id, name, queue, attempt } = start.job;
    return endOfReturn(
      await (enter === undefined ? run() : enter(() => ({ id, name, queue, attempt }), run)),
    );
  } catch (thrown) {
    return endOfThrow(thrown);
  }
}

/**
 * The pool's own port to the main thread is reachable for everything that runs here, and has no bound: a flood
 * through it would keep the main thread from its heartbeats. The pool itself has no more use for it.
 */
function closeSideEntrance(): void {
  if (parentPort === null) return;
  parentPort.postMessage = () => {
    throw new StateError(
      "A job's thread has no parentPort to post to. Use ctx.log, ctx.checkpoint, ctx.jobs or what the handler returns.",
    );
  };
}
