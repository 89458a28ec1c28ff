// Another module, with a definition that producers import without its handler.

import { defineJob, implement, json } from "jobwright";

export const greet = defineJob({ name: "greet", payload: json() });
// oxlint-disable-next-line import/no-default-export -- default exports are looked at as well
export default [implement(greet, ({ who }, ctx) => `${ctx.state.greeting}, ${who}!`)];
export const worker = { state: () => ({ greeting: "Hello" }) };
