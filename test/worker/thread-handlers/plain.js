import { basename } from "node:path";

// oxlint-disable-next-line import/no-default-export -- the form of a handler module
export default async function plain({ file }, ctx) {
  return { name: basename(file), attempt: ctx.job.attempt };
}
