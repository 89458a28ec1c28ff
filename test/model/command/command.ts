import type * as fc from "fast-check";
import { compareState } from "../compare.ts";
import type { Model } from "../model.ts";
import type { Pair } from "../pair.ts";

/** What commands do: ask engine and model the same, and compare what they answer. */
export type Run<Args> = (pair: Pair, args: Args) => Promise<void>;

/** A kind of command: how often it is drawn (of about 500), and what it is drawn from. */
export interface Kind {
  readonly name: string;
  readonly weight: number;
  readonly arbitrary: fc.Arbitrary<fc.AsyncCommand<Model, Pair>>;
}

/** Arguments are plain numbers and data, so that a failing sequence prints, shrinks and replays. */
export function kind<Args>(name: string, weight: number, args: fc.Arbitrary<Args>, run: Run<Args>): Kind {
  return { name, weight, arbitrary: args.map((drawn) => new Command(name, drawn, run)) };
}

/** Up to this many jobs the whole state is compared after every command, beyond it after every fourth. */
const COMPARED_ALWAYS_JOBS = 40;

class Command<Args> implements fc.AsyncCommand<Model, Pair> {
  readonly #name: string;
  readonly #args: Args;
  readonly #run: Run<Args>;

  constructor(name: string, args: Args, run: Run<Args>) {
    this.#name = name;
    this.#args = args;
    this.#run = run;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, pair: Pair): Promise<void> {
    pair.steps += 1;
    pair.coverage.seeCommand(this.#name);
    await this.#run(pair, this.#args);
    if (model.jobs.length <= COMPARED_ALWAYS_JOBS || pair.steps % 4 === 0) await compareState(pair);
  }

  toString(): string {
    return `${this.#name}(${JSON.stringify(this.#args)})`;
  }
}
