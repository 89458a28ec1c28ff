import type { ThreadHandler } from "../../../src/index.ts";
import type { child } from "./definitions.ts";

// @ts-expect-error -- not in our sources, but in those of users: type stripping alone cannot run it
enum Kind {
  Even,
  Odd,
}

const handler: ThreadHandler<typeof child, string> = (n) => (n % 2 === 0 ? Kind[Kind.Even] : Kind[Kind.Odd]);
// oxlint-disable-next-line import/no-default-export -- the form of a handler module
export default handler;
