// As jobs.mjs, and tells of the signals that it hears.
export * from "./jobs.mjs";

process.on("SIGTERM", () => process.stdout.write("heard\n"));
