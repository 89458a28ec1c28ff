import { runScope } from "../run-scope.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";
import { lineOf } from "./command.ts";

/** Something that goes on until it is told to stop. */
export interface LongRunning {
  /** Say that it is ready when it is. */
  start(): Promise<void>;
  /** Called once, also when `start` failed or has not ended. */
  stop(): Promise<void>;
  /** How the command ends after a signal. */
  readonly ended: ExitCode;
}

/** More of them while it stops are of the same kind, and may be many. */
const STRAYS_TOLD = 10;

/**
 * Run until a signal comes. An error that nobody caught leaves a program in a state that nobody knows: it is
 * told, what goes on is ended in order, and the command has failed.
 *
 * @throws what `start` throws
 */
export async function untilStopped(terminal: Terminal, running: LongRunning): Promise<ExitCode> {
  let code: ExitCode = running.ended;
  let stopping: Promise<void> | undefined;
  let over: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (over = resolve));
  const stop = (): Promise<void> => {
    stopping ??= running.stop().finally(over);
    return stopping;
  };
  const forgetSignals = terminal.stopOnSignals([{ [Symbol.asyncDispose]: stop }]);
  let strays = 0;
  const forgetErrors = terminal.onStrayError((error) => {
    strays += 1;
    // Known where a module of the jobs imports `jobwright/current-job`.
    const job = runScope.current?.();
    const whose = job === undefined ? "" : ` in the run of job ${job.id} ${JSON.stringify(job.name)}`;
    if (strays <= STRAYS_TOLD) {
      terminal.error(`an error that nobody caught${whose}: ${lineOf(error)}. It stops.`);
    }
    code = EXIT.failed;
    stop().catch(() => undefined);
  });
  try {
    await running.start();
    await stopped;
    await stopping;
    return code;
  } catch (error) {
    // A signal while it was starting: what then failed is of no interest.
    if (stopping !== undefined && code === running.ended) {
      await stopping;
      return code;
    }
    await stop();
    throw error;
  } finally {
    forgetErrors();
    // The signals stay taken while the process ends by itself.
    if (stopping === undefined) forgetSignals();
  }
}
