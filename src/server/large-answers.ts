import type { MethodName } from "../wire/methods.ts";

/** Calls whose answers may be large ... */
const LARGE: ReadonlySet<MethodName> = new Set<MethodName>([
  "claim",
  "exchange",
  "dueSchedules",
  "rescue",
  "get",
  "list",
  "attempts",
  "logs",
  "schedules",
  "keys",
  "lanes",
  "processes",
]);
/** ... of which one connection has so many under way, and none is begun while it is slow to read. */
const LARGE_AT_ONCE = 4;

export function isLarge(method: MethodName): boolean {
  return LARGE.has(method);
}

/** The turns of those calls: their answers are many times the size of their questions. */
export class LargeAnswers {
  readonly #mayBegin: () => boolean;
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;

  /** @param mayBegin whether the connection takes more answers */
  constructor(mayBegin: () => boolean) {
    this.#mayBegin = mayBegin;
  }

  /** Wait until another one may be made. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.admit();
    });
  }

  /** One of them was handed to the connection. */
  done(): void {
    this.#underWay -= 1;
    this.admit();
  }

  /** Begin what may begin. */
  admit(): void {
    while (this.#waiting.length > 0 && this.#underWay < LARGE_AT_ONCE && this.#mayBegin()) {
      this.#underWay += 1;
      this.#waiting.shift()?.();
    }
  }

  /** Nobody waits any more. */
  clear(): void {
    this.#waiting.length = 0;
  }
}
