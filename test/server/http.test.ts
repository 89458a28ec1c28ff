import { once } from "node:events";
import { request } from "node:http";
import { connect as connectTcp } from "node:net";
import { describe, expect, it } from "vitest";
import { StorageUnavailableError } from "../../src/errors.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { gate, turns, until } from "../support/world.ts";
import { newJob } from "./support/job.ts";
import { serving } from "./support/serving.ts";

// Goal: monitors are told the truth in a form they can read, whatever jobs are called.

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

function ask(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, agent: false, ...options }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (body += part));
      response.once("end", () =>
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
      );
    });
    asked.once("error", reject);
    asked.end();
  });
}

/** A storage of which some methods are others. */
function changed(storage: Storage, methods: Partial<Storage>): Storage {
  return new Proxy(storage, {
    get: (target, key) => {
      const own = (methods as Record<string | symbol, unknown>)[key];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

describe("probes", () => {
  it("are answered under any name, to anybody, without a token", async () => {
    await using stage = await serving({ tokens: ["a-token-of-the-tests-0123456789"] });
    for (const path of ["/livez", "/readyz", "/livez?verbose"]) {
      const { status, body } = await ask(stage.server.port, path, { headers: { host: "10.0.0.7" } });
      expect([status, body], path).toEqual([200, "ok\n"]);
    }
  });

  it("say that the server is not ready while its storage is away, and lives all the same", async () => {
    let isAway = true;
    const memory = new MemoryStorage();
    const storage = changed(memory, {
      count: (query) =>
        isAway ? Promise.reject(new StorageUnavailableError("password=secret")) : memory.count(query),
    });
    await using stage = await serving({ storage });
    const { port } = stage.server;
    expect(await ask(port, "/readyz")).toMatchObject({ status: 503, body: "the storage fails\n" });
    expect(await ask(port, "/livez")).toMatchObject({ status: 200 });
    isAway = false;
    expect(await ask(port, "/readyz")).toMatchObject({ status: 200 });
  });

  it("say so too when the storage does not answer", async () => {
    const storage = changed(new MemoryStorage(), { count: () => new Promise(() => undefined) });
    await using stage = await serving({ storage });
    expect(await ask(stage.server.port, "/readyz")).toMatchObject({
      status: 503,
      body: "the storage does not answer\n",
    });
  });

  it("ask the storage once, however many ask them without a token", async () => {
    const held = gate();
    let asked = 0;
    const storage = changed(new MemoryStorage(), {
      count: async () => {
        asked += 1;
        await held.promise;
        return { n: 0, exact: true };
      },
    });
    await using stage = await serving({ storage });
    const { port } = stage.server;
    const answers = Promise.all(Array.from({ length: 20 }, () => ask(port, "/readyz")));
    // All of them are in the server before this one is answered.
    await until(() => asked > 0);
    for (let n = 0; n < 5; n += 1) expect((await ask(port, "/livez")).status).toBe(200);
    held.open();
    expect((await answers).map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    expect(asked).toBeLessThan(20);
    expect((await ask(port, "/readyz")).status).toBe(200);
  });

  it("send nobody to a server that stops", async () => {
    const held = gate();
    const arrived = gate();
    const memory = new MemoryStorage();
    const storage = changed(memory, {
      lanes: async () => {
        arrived.open();
        await held.promise;
        return memory.lanes();
      },
    });
    await using stage = await serving({ storage });
    const { port } = stage.server;
    const client = await stage.client();
    // New connections are refused from then on, and idle ones closed; this one is in the middle of a request.
    const probe = connectTcp(port, "127.0.0.1");
    await once(probe, "connect");
    const closed = once(probe, "close");
    let answer = "";
    probe.on("data", (part: Buffer) => (answer += part.toString()));
    probe.write("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    await ask(port, "/livez");
    const call = client.lanes();
    const outcome = call.then(
      () => "answered",
      (error: Error) => error.name,
    );
    await arrived.promise;
    const stopped = stage.server.stop();
    await turns();
    probe.write("\r\n");
    await closed;
    expect(answer).toMatch(/^HTTP\/1.1 503 Service Unavailable\r\n/);
    expect(answer).toContain("stopping\n");
    held.open();
    await stopped;
    await client.close();
    expect(["answered", "StorageClosedError"]).toContain(await outcome);
  });
});

describe("metrics", () => {
  const HOSTILE = ['a"b', "a\nb", "a\\b", 'x"} 1\nforged_metric 1\n#', "\u2028", "\ud800"];

  it("can be read by whoever reads the text format, whatever jobs are called", async () => {
    await using stage = await serving();
    const client = await stage.client();
    for (const name of HOSTILE) await client.enqueue([[newJob({ name, queue: name })]]);
    const { jobs } = await client.list({ state: "available", limit: 2 });
    await client.change(
      jobs.map(({ id }) => id),
      { kind: "cancel", reason: "enough" },
    );
    await client.change(
      jobs.map(({ id }) => id),
      { kind: "retry" },
    );
    await expect(client.list({ state: "available", limit: 0 })).rejects.toThrow("limit");
    const { status, body, headers } = await ask(stage.server.port, "/metrics");
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    const samples = parse(body);
    const value = (name: string, labels: Record<string, string> = {}): number | undefined =>
      samples.find((one) => one.name === name && JSON.stringify(one.labels) === JSON.stringify(labels))
        ?.value;
    for (const name of HOSTILE) {
      const shown = name.toWellFormed();
      expect(
        value("jobwright_jobs", { queue: shown, name: shown, state: "available" }),
        JSON.stringify(name),
      ).toBe(1);
    }
    expect(samples.some(({ name }) => name === "forged_metric")).toBe(false);
    expect(value("jobwright_enqueued_total")).toBe(HOSTILE.length);
    // What was run again has ended all the same.
    expect(value("jobwright_ended_total", { state: "cancelled" })).toBe(2);
    expect(value("jobwright_ended_total", { state: "completed" })).toBe(0);
    expect(value("jobwright_ended_total", { state: "dead" })).toBe(0);
    expect(value("jobwright_server_connections")).toBe(1);
    expect(value("jobwright_server_accepted_total")).toBe(1);
    expect(value("jobwright_server_calls_total", { method: "enqueue" })).toBe(HOSTILE.length);
    expect(value("jobwright_server_call_failures_total", { method: "list" })).toBe(1);
    expect(value("jobwright_server_frames_total", { direction: "in" })).toBeGreaterThan(HOSTILE.length);
    expect(value("jobwright_storage_up")).toBe(1);
  });

  it("add up the lanes beyond the first 500", async () => {
    await using stage = await serving();
    const names = Array.from({ length: 600 }, (_, index) => `job-${index}`);
    await stage.behind.enqueue([names.map((name) => newJob({ name }))]);
    const samples = parse((await ask(stage.server.port, "/metrics")).body).filter(
      ({ name, labels }) => name === "jobwright_jobs" && labels["state"] === "available",
    );
    expect(samples).toHaveLength(501);
    expect(samples.find(({ labels }) => labels["name"] === "(others)")?.value).toBe(100);
  });

  it("still tell of the server while the storage is away", async () => {
    const storage = changed(new MemoryStorage(), {
      lanes: () => Promise.reject(new StorageUnavailableError("Away.")),
    });
    await using stage = await serving({ storage });
    const samples = parse((await ask(stage.server.port, "/metrics")).body);
    expect(samples).toContainEqual({ name: "jobwright_storage_up", labels: {}, value: 0 });
    expect(samples).toContainEqual({ name: "jobwright_server_connections", labels: {}, value: 0 });
  });

  it("are for those who may read, under the server's own name", async () => {
    const reader = "a-reader-of-the-tests-0123456789";
    const maker = "a-maker-of-the-tests-0123456789";
    await using stage = await serving({
      tokens: [
        { token: reader, scopes: ["read"] },
        { token: maker, scopes: ["enqueue"] },
      ],
    });
    const get = (headers: Record<string, string>): Promise<Answer> =>
      ask(stage.server.port, "/metrics", { headers });
    expect((await get({ authorization: `Bearer ${reader}` })).status).toBe(200);
    expect((await get({ authorization: `Bearer ${reader}`, host: "evil.example" })).status).toBe(421);
    for (const headers of [{}, { authorization: `Bearer ${maker}` }, { authorization: `Basic ${reader}` }]) {
      const refused = await get(headers);
      expect(refused.status).toBe(401);
      expect(refused.headers["www-authenticate"]).toBe("Bearer");
      expect(refused.body).not.toContain("jobwright_");
    }
  });
});

describe("other requests", () => {
  it("are told what there is", async () => {
    await using stage = await serving();
    const { port } = stage.server;
    for (const path of ["/", "/jobs", "/livez/", "/LIVEZ", "/../metrics", "/%00", "//metrics"]) {
      expect((await ask(port, path)).status, path).toBe(404);
    }
    for (const path of ["/livez", "/readyz", "/metrics", "/nothing"]) {
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"]) {
        const { status, headers } = await ask(port, path, { method });
        expect([method, path, status]).toEqual([method, path, 405]);
        expect(headers["allow"]).toBe("GET, HEAD");
      }
    }
    expect(await ask(port, "/livez", { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  });

  it("go to whatever else is served there, under the server's own name", async () => {
    await using stage = await serving({ fallback: (_request, response) => response.end("a page") });
    const { port } = stage.server;
    expect((await ask(port, "/dashboard")).body).toBe("a page");
    expect((await ask(port, "/livez")).body).toBe("ok\n");
    expect((await ask(port, "/dashboard", { headers: { host: "evil.example" } })).status).toBe(421);
  });
});

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The text format as its specification has it. @throws for a line that is none of it */
function parse(page: string): Sample[] {
  expect(page.endsWith("\n")).toBe(true);
  const samples: Sample[] = [];
  const typed = new Set<string>();
  for (const line of page.slice(0, -1).split("\n")) {
    if (line.startsWith("# HELP ")) continue;
    const type = /^# TYPE ([a-z_]+) (?:gauge|counter)$/.exec(line);
    if (type !== null) {
      if (typed.has(type[1] as string)) throw new Error(`Told twice: ${line}`);
      typed.add(type[1] as string);
      continue;
    }
    const found =
      /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)+)\})? (\d+(?:\.\d+)?(?:e[+-]\d+)?)$/.exec(line);
    if (found === null) throw new Error(`This line is none of the text format: ${JSON.stringify(line)}`);
    const [, name = "", written = "", value] = found;
    expect(typed.has(name), line).toBe(true);
    const labels: Record<string, string> = {};
    for (const [, label = "", text = ""] of written.matchAll(/([a-z_]+)="((?:[^"\\]|\\["\\n])*)"/g)) {
      labels[label] = text.replaceAll(/\\(.)/g, (_all, sign: string) => (sign === "n" ? "\n" : sign));
    }
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}
