/** A line of the server's log that a test brings about on purpose, and why. */
export interface Allowed {
  readonly text: RegExp;
  readonly why: string;
}

/** The end of sessions when somebody wants them ended, and of those that come while the server is not there. */
export const OUTAGES: readonly Allowed[] = [
  { text: /FATAL: {2}terminating connection due to administrator command/, why: "a fast stop ends sessions" },
  {
    text: /FATAL: {2}the database system is (?:shutting down|starting up|in recovery mode|not yet accepting)/,
    why: "processes try again while the server comes and goes",
  },
];

/** What the server did because a client gave up on a call or hung up. */
export const GIVEN_UP: readonly Allowed[] = [
  { text: /ERROR: {2}canceling statement due to user request/, why: "a call whose time was over is stopped" },
  { text: /FATAL: {2}connection to client lost/, why: "the test cuts connections" },
  {
    text: /ERROR: {2}batch \S+ was stored meanwhile/,
    why: "an enqueue is repeated while its first try, which was given up, still goes on",
  },
];

/** Never brought about on purpose, whatever a test allows. */
const NEVER =
  /deadlock detected|out of shared memory|duplicate key|PANIC|invalid memory|could not access status/;

/** Errors in the server's log that nobody has allowed, each once with its number. */
export function problemsIn(log: string, allowed: readonly Allowed[]): string[] {
  const found = new Map<string, number>();
  const lines = log.split("\n");
  lines.forEach((line, i) => {
    if (!/ (?:ERROR|FATAL|PANIC): {2}/.test(line) && !NEVER.test(line)) return;
    if (!NEVER.test(line) && allowed.some(({ text }) => text.test(line))) return;
    // The lines after it say where and in which statement.
    const details = lines
      .slice(i + 1, i + 6)
      .filter((one) => / (?:DETAIL|CONTEXT|HINT|STATEMENT): /.test(one));
    const text = [line, ...details]
      .map((one) => one.replace(/^.*? (?=[A-Z]+: {2})/, "").slice(0, 300))
      .join("\n  ");
    found.set(text, (found.get(text) ?? 0) + 1);
  });
  return [...found].map(([text, n]) => `${n} × ${text}`);
}
