import type { ToChild, ToParent } from "./message.ts";

/** A process or a thread that runs worker modules, as the Supervisor holds it. */
export interface ChildHandle {
  /** Its pid or thread id; 0 when it never came to be. */
  readonly id: number;
  tell(message: ToChild): void;
  /** End it at once, whatever it does. */
  kill(): void;
}

export interface ChildHandleEvents {
  message(message: ToParent): void;
  /** Told once. */
  exited(code: number | null, signal: string | null, error?: Error): void;
}
