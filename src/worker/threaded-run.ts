import { MessageChannel, type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { systemClock } from "../clock.ts";
import { InvalidOptionError, InvalidPayloadError, ThreadDiedError } from "../errors.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import { serializeError } from "../job/error.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { json } from "../job/schema.ts";
import type { EnqueuedJob } from "./context.ts";
import { isSurrounded, observed, throughMiddleware } from "./around.ts";
import { throughEnds } from "./ends-as-values.ts";
import { type Checked, checkedPayload, endOf, finish, type Run } from "./run.ts";
import { RunContext, type RunServices, saveNote } from "./run-context.ts";
import { endOfThrow, refusedPayload, RefusedPayload } from "./thread/ending.ts";
import { failureOf } from "./thread/failure.ts";
import type {
  Answer,
  Call,
  ClockReading,
  FromThread,
  ThreadItem,
  ThreadTask,
  ToThread,
} from "./thread/messages.ts";
import { THREAD_MEMORY_MB, threadModule, type Threads } from "./threads.ts";

/** What runs in threads share. */
export interface ThreadServices {
  readonly services: RunServices;
  readonly threads: Threads;
  /** The worker's definitions, for enqueues by name. */
  readonly handlers: ReadonlyMap<string, AnyJobDefinition>;
}

/** Run the handler in a thread; whatever happens becomes a value and `ended` is called once. */
export function runInThread(
  run: Run,
  definition: AnyJobDefinition,
  services: ThreadServices,
  ended: (run: Run, end: RunEnd) => void,
): void {
  new ThreadedRun(run, definition, services, ended).start();
}

/** The main thread's side of a run in a thread: it hands it over, and does what the handler asks for. */
class ThreadedRun {
  readonly #run: Run;
  readonly #definition: AnyJobDefinition;
  readonly #services: ThreadServices;
  readonly #context: RunContext;
  readonly #ended: (run: Run, end: RunEnd) => void;
  readonly #kill = new AbortController();
  #port: MessagePort | undefined;
  #begun: (() => void) | undefined;
  #isOver = false;
  /** Where the end goes that the thread, or its death, makes. */
  #tell: (end: RunEnd) => void;

  constructor(
    run: Run,
    definition: AnyJobDefinition,
    services: ThreadServices,
    ended: (run: Run, end: RunEnd) => void,
  ) {
    this.#run = run;
    this.#definition = definition;
    this.#services = services;
    this.#context = new RunContext(run, services.services, definition);
    this.#ended = ended;
    this.#tell = (end) => this.#told(end);
  }

  start(): void {
    const run = this.#run;
    run.kill = (reason) => {
      this.#kill.abort(reason);
      // Not when the thread is gone, which can take a while: its slot is free now.
      this.#end(endOfThrow(reason));
    };
    const { around } = this.#services.services;
    if (!isSurrounded(this.#definition, around)) return this.#begin();
    void this.#endThrough(
      (inner) => observed(run, this.#definition, around, inner),
      () => this.#begin(),
    );
  }

  /** What `begin` leads to, with something around it. */
  async #endThrough(around: (inner: () => Promise<unknown>) => unknown, begin: () => void): Promise<void> {
    const outer = this.#tell;
    const inner = (): Promise<RunEnd> =>
      new Promise((resolve) => {
        // Killed before it came this far.
        if (this.#isOver) return resolve(endOfThrow(this.#kill.signal.reason));
        this.#tell = resolve;
        begin();
      });
    outer(await throughEnds(around, inner));
  }

  #begin(): void {
    try {
      const checked = checkedPayload(this.#run, this.#definition);
      if (checked instanceof Promise) void this.#handOverLater(checked);
      else this.#handOver(checked);
    } catch (thrown) {
      this.#end(endOfThrow(thrown));
    }
  }

  async #handOverLater(checked: Promise<Awaited<Checked>>): Promise<void> {
    try {
      this.#handOver(await checked);
    } catch (thrown) {
      this.#end(endOfThrow(thrown));
    }
  }

  #handOver(checked: Awaited<Checked>): void {
    const run = this.#run;
    if (!checked.ok) return this.#end(endOfThrow(refusedPayload(run.job.name, checked)));
    run.payload = checked.payload;
    const { around } = this.#services.services;
    if (!isSurrounded(this.#definition, around)) return this.#toThread(checked.payload);
    void this.#endThrough(
      (inner) => throughMiddleware(this.#definition, this.#context, around, inner),
      () => this.#toThread(checked.payload),
    );
  }

  #toThread(payload: unknown): void {
    const run = this.#run;
    run.signal.addEventListener("abort", () => this.#tellAbort());
    const { threadMemoryMb = THREAD_MEMORY_MB } = this.#definition;
    this.#services.threads
      .run((begun) => this.#task(payload, begun), threadMemoryMb, this.#kill.signal)
      .then(
        (end) => this.#end(end),
        (thrown: unknown) => this.#end(endOfThrow(isRefusal(thrown) ? thrown : this.#died(thrown))),
      );
  }

  /** What the thread is handed: a port, in which the first message waits for it. */
  #task(payload: unknown, begun: () => void): ThreadTask {
    const run = this.#run;
    const { port1, port2 } = new MessageChannel();
    this.#port?.close();
    this.#port = port1;
    this.#begun = begun;
    port1.on("message", (message: FromThread) => this.#heard(message));
    try {
      const { job } = this.#context;
      this.#post({ kind: "run", job, payload, checkpoint: run.job.checkpoint ?? {}, now: this.#now() });
    } catch (thrown) {
      port2.close();
      throw this.#uncloneable(thrown);
    }
    if (run.abortReason !== undefined) this.#tellAbort();
    return { port: port2, module: threadModule(this.#definition.thread as URL) };
  }

  #tellAbort(): void {
    this.#post({ kind: "abort", reason: failureOf(this.#run.abortReason), now: this.#now() });
  }

  #end(end: RunEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const port = this.#port;
    if (port !== undefined) {
      // What the handler said before it ended counts; how much that can be is bounded where it is said.
      for (let left = receiveMessageOnPort(port); left !== undefined; left = receiveMessageOnPort(port)) {
        this.#heard(left.message as FromThread);
      }
      port.close();
    }
    this.#tell(end);
  }

  #told(end: RunEnd): void {
    finish(this.#run, endOf(this.#run, end), this.#ended);
  }

  #uncloneable(thrown: unknown): RefusedPayload {
    const { message } = serializeError(thrown);
    return new RefusedPayload("", {
      cause: new InvalidPayloadError(this.#run.job.name, [
        { path: [], message: `The schema's output cannot be handed to a thread: ${message}` },
      ]),
    });
  }

  #died(thrown: unknown): ThreadDiedError {
    const { message, code } = serializeError(thrown);
    if (code === "ERR_WORKER_OUT_OF_MEMORY") {
      const { threadMemoryMb = THREAD_MEMORY_MB } = this.#definition;
      return new ThreadDiedError(
        this.#run.id,
        `it needed more than its ${threadMemoryMb} MiB of heap. Work in smaller pieces, or raise threadMemoryMb.`,
        thrown,
      );
    }
    const exit = /^worker exited with code: (-?\d+)$/.exec(message)?.[1];
    if (exit !== undefined) {
      return new ThreadDiedError(
        this.#run.id,
        `it exited with code ${exit}. Return or throw instead of calling process.exit().`,
      );
    }
    return new ThreadDiedError(
      this.#run.id,
      "something threw outside of the handler. Catch errors in callbacks and await every promise.",
      thrown,
    );
  }

  // ── What the handler says ──────────────────────────────────────────────────

  #heard(message: FromThread): void {
    switch (message.kind) {
      case "begun":
        return this.#begun?.();
      case "log":
        return this.#context.log[message.level](message.message, message.details);
      case "progress":
        return this.#context.reportProgress(message.text);
      case "call":
        this.#perform(message.what).then(
          (enqueued) => this.#answer(message.call, { ok: true, enqueued }),
          (thrown: unknown) => this.#answer(message.call, { ok: false, failure: failureOf(thrown) }),
        );
    }
  }

  async #perform(call: Call): Promise<EnqueuedJob[]> {
    const { storage, jobs } = this.#services.services;
    switch (call.kind) {
      case "checkpoint":
        await this.#context.saveCheckpoint(call.key, call.text);
        return [];
      case "result":
        await saveNote(this.#run, storage, { result: call.text });
        return [];
      case "enqueue": {
        const { definition, payload, options } = this.#item(call.item);
        return [answerOf(await jobs.enqueue(definition, payload, options))];
      }
      case "enqueueMany":
        return (await jobs.enqueueMany(call.items.map((one) => this.#item(one)))).map(answerOf);
    }
  }

  #item({ name, byName, payload, options }: ThreadItem): {
    definition: AnyJobDefinition;
    payload: unknown;
    options?: NonNullable<ThreadItem["options"]>;
  } {
    const definition = byName ? this.#services.handlers.get(name) : { name, schema: json(), options: {} };
    if (definition === undefined) {
      throw new InvalidOptionError(
        "definition",
        name,
        "This worker has no definition of that name: enqueue with the definition itself.",
      );
    }
    return { definition, payload: JSON.parse(payload), ...(options === undefined ? {} : { options }) };
  }

  #answer(call: number, answer: Answer): void {
    this.#post({ kind: "answer", call, now: this.#now(), ...answer });
  }

  /** After the end it goes nowhere. */
  #post(message: ToThread): void {
    this.#port?.postMessage(message);
  }

  #now(): ClockReading {
    const { clock } = this.#services.services;
    return clock === systemClock ? undefined : clock.now();
  }
}

function isRefusal(thrown: unknown): thrown is Error {
  return thrown instanceof RefusedPayload || thrown instanceof InvalidOptionError;
}

function answerOf({ id, created, status }: EnqueuedJob): EnqueuedJob {
  return { id, created, status };
}
