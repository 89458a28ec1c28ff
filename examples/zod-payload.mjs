// @ts-check
// A payload with a schema: checked when it is enqueued and before it runs. Needs the package "zod".
import { connect, defineJob, InvalidPayloadError } from "jobwright";
import { z } from "zod";

const resize = defineJob({
  name: "resize",
  payload: z.object({
    file: z.string().endsWith(".jpg"),
    width: z.int().positive(),
    quality: z.number().default(80),
  }),
  // The handler gets what the schema puts out: with the default, and typed.
  run: ({ file, width, quality }) => `${file} at ${width} px, quality ${quality}`,
});

const jobs = await connect("memory:");
await jobs.worker([resize]).start();

const handle = await jobs.enqueue(resize, { file: "a.jpg", width: 200 });
console.log(await handle.result({ timeout: "10s" }));

try {
  await jobs.enqueue(resize, { file: "a.jpg", width: -1 });
} catch (error) {
  if (!(error instanceof InvalidPayloadError)) throw error;
  for (const { path, message } of error.issues) console.log(`${path.join(".")}: ${message}`);
}
console.log("stored:", (await jobs.count()).n);
await jobs.close();

// prints:
// a.jpg at 200 px, quality 80
// width: Too small: expected number to be >0
// stored: 1
