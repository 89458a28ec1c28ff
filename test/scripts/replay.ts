import { compileFunction } from "node:vm";
import { TestClock } from "../../src/testing/index.ts";
import type { StorageKind } from "../support/storages.ts";
import { Answers } from "./answer.ts";
import { Scope } from "./scope.ts";
import type { Call, Script } from "./script.ts";

/** A call that takes longer than this on a busy machine is not coming back. */
const CALL_MS_MAX = 60_000;

/** What a storage answered to a script, call by call. */
export interface Recording {
  readonly answers: readonly string[];
  /** Kinds of answers, each as often as it came. */
  readonly kinds: readonly string[];
}

/** Run a script on a fresh storage. Ends early at a call that does not answer. */
export async function replay(kind: StorageKind, script: Script): Promise<Recording> {
  const clock = new TestClock();
  const storage = await kind.create({ clock });
  const answers = new Answers(clock.now());
  const recorded: string[] = [];
  try {
    await using scope = await Scope.open(storage, clock);
    for (const call of script) {
      const answer = await answerTo(call, scope, answers);
      recorded.push(answer);
      if (answer === NO_ANSWER) break;
    }
  } finally {
    await storage.close();
    await kind.cleanup();
  }
  return { answers: recorded, kinds: answers.kinds };
}

const NO_ANSWER = "(no answer)";

async function answerTo({ step, code }: Call, scope: Scope, answers: Answers): Promise<string> {
  const names = Object.keys(scope.names);
  const call = compileFunction(`return (${code});`, names) as (...values: readonly unknown[]) => unknown;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<symbol>((resolve) => {
    timer = setTimeout(resolve, CALL_MS_MAX, TOO_LATE);
  });
  let said: string;
  try {
    const answer = await Promise.race([(async () => call(...Object.values(scope.names)))(), late]);
    if (answer === TOO_LATE) return NO_ANSWER;
    scope.remember(step, answer);
    said = answers.value(answer);
    if (answer === undefined || typeof answer === "string") answers.kinds.push(`answer: ${String(answer)}`);
  } catch (error) {
    said = answers.error(error);
  } finally {
    clearTimeout(timer);
  }
  const runs = scope.takeRuns();
  for (const { acts } of runs) for (const act of (acts ?? []) as string[]) answers.kinds.push(`act: ${act}`);
  return runs.length === 0 ? said : `${said}\nruns: ${answers.value(runs)}`;
}

const TOO_LATE = Symbol("too late");
