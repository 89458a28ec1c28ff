import type { Service } from "./service.ts";

/** After an orderly stop the process should end by itself; this much later it is ended. */
const END_MS = 1_000;

/**
 * Stop these services on SIGTERM or SIGINT: a first signal stops them in order (claim nothing more, wait,
 * abort, give back the rest unspent) and lets the process end with status 0; a second one ends it at once.
 * Nothing is installed unless this is called.
 *
 * @returns takes the handlers out again
 */
export function stopOnSignals(services: readonly (Service | AsyncDisposable)[]): () => void {
  let stopping = false;
  const onSignal = (signal: "SIGTERM" | "SIGINT"): void => {
    if (stopping) process.exit(signal === "SIGINT" ? 130 : 143);
    stopping = true;
    void stopAll().then(
      () => {
        process.exitCode ??= 0;
        setTimeout(() => process.exit(), END_MS).unref();
      },
      (error: unknown) => {
        process.stderr.write(`jobwright error stop failed: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  const stopAll = async (): Promise<void> => {
    for (const service of services) {
      await ("stop" in service ? service.stop() : service[Symbol.asyncDispose]());
    }
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return () => {
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  };
}
