import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TcpProxy } from "../support/postgres/proxy.ts";
import { postgres } from "../support/postgres/server.ts";

// Goal: each fault does to a connection what it says, and nothing to the others.
// Method: a server that answers every byte with the same byte, and clients that keep a diary. That
// nothing arrives is judged after a whole round trip on a connection that is well.

const WITHIN = { timeout: 20_000, interval: 1 };

let server: Server;
let proxy: TcpProxy;
/** The server's ends, and the clients'. */
const accepted: Socket[] = [];
const opened: Socket[] = [];

beforeEach(async () => {
  server = createServer({ noDelay: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy = await TcpProxy.start((server.address() as AddressInfo).port);
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  for (const socket of [...accepted.splice(0), ...opened.splice(0)]) socket.destroy();
  server.close();
});

/** A client through the proxy, and what happened to it. */
class Client {
  readonly diary: string[] = [];
  received = "";
  chunks = 0;
  readonly socket: Socket;

  private constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    opened.push(this.socket);
    this.socket.setEncoding("latin1").on("data", (text: string) => {
      this.received += text;
      this.chunks += 1;
    });
    this.socket.on("end", () => this.diary.push("end"));
    this.socket.on("error", (error: NodeJS.ErrnoException) => this.diary.push(error.code ?? error.message));
    this.socket.on("close", () => this.diary.push("close"));
  }

  static async open(): Promise<Client> {
    const taken = proxy.taken;
    const client = new Client(proxy.port);
    await Promise.all([once(client.socket, "connect"), proxy.whenTaken(taken + 1)]);
    return client;
  }

  /** Say something and wait for its echo. */
  async echo(text: string): Promise<void> {
    const before = this.received.length;
    this.socket.write(text);
    await this.has(before + text.length);
  }

  async has(length: number): Promise<void> {
    await vi.waitUntil(() => this.received.length === length, WITHIN);
  }

  async closes(): Promise<void> {
    await vi.waitUntil(() => this.diary.at(-1) === "close", WITHIN);
  }
}

async function isDestroyed(socket: Socket | undefined): Promise<void> {
  await vi.waitUntil(() => socket?.destroyed, WITHIN);
}

/** The newest of the proxy's connections. */
function newest(): TcpProxy["connections"][number] {
  const connection = proxy.connections.at(-1);
  if (connection === undefined) throw new Error("nobody is connected");
  return connection;
}

describe("a proxy that does nothing", () => {
  it("passes everything on, in order, both ways, and counts", async () => {
    const client = await Client.open();
    const text = "0123456789abcdef".repeat(100_000);
    await client.echo(text);
    expect(client.received).toBe(text);
    expect(newest().passed("requests")).toBe(text.length);
    expect(newest().passed("answers")).toBe(text.length);
    expect([proxy.taken, proxy.connections.length]).toEqual([1, 1]);
    await Client.open();
    expect([proxy.taken, proxy.connections.length]).toEqual([2, 2]);
  });

  it("passes on that one side ends, and that it resets", async () => {
    const client = await Client.open();
    const connection = newest();
    client.socket.end("bye");
    await client.closes();
    expect([client.received, client.diary]).toEqual(["bye", ["end", "close"]]);
    await connection.closed;
    expect(proxy.connections).toEqual([]);
    await isDestroyed(accepted[0]);

    const other = await Client.open();
    await other.echo("x");
    accepted[1]?.resetAndDestroy();
    await other.closes();
    expect(other.diary).toEqual(["ECONNRESET", "close"]);
  });

  it("resets when nobody listens behind it", async () => {
    server.close();
    const client = await Client.open();
    await client.closes();
    expect(client.diary).toEqual(["ECONNRESET", "close"]);
  });

  it("leads a real client to a real server", async () => {
    const { url } = await postgres();
    await using lead = await TcpProxy.start(Number(new URL(url).port || 5432));
    lead.split(1);
    const { Client: PgClient } = (await import("pg")).default;
    const client = new PgClient({ connectionString: lead.url(url) });
    await client.connect();
    expect((await client.query("select repeat('x', 1000) as x")).rows).toEqual([{ x: "x".repeat(1_000) }]);
    await client.end();
    expect(lead.taken).toBe(1);
  });
});

describe("delay and split", () => {
  it("delays each direction by so much, without slowing what follows", async () => {
    const client = await Client.open();
    proxy.delay(100);
    const start = performance.now();
    for (let i = 0; i < 50; i += 1) client.socket.write("x");
    await client.has(50);
    const tookMs = performance.now() - start;
    // Timers fire up to a millisecond early.
    expect(tookMs).toBeGreaterThan(195);
    expect(tookMs).toBeLessThan(5_000);
  });

  it("is for those to come as well, and for one connection when it is asked of one", async () => {
    proxy.delay(60_000);
    const slow = await Client.open();
    slow.socket.write("late");
    proxy.heal();
    // What waited goes at once.
    await slow.has(4);
    newest().delay(60_000);
    slow.socket.write("never");
    const fast = await Client.open();
    await fast.echo("now");
    expect(slow.received).toBe("late");
  });

  it("delivers in pieces", async () => {
    const client = await Client.open();
    await client.echo("whole");
    expect(client.chunks).toBe(1);
    proxy.split(1);
    await client.echo("in pieces");
    expect(client.received).toBe("wholein pieces");
    expect(client.chunks).toBeGreaterThan(2);
  });
});

describe("half-open", () => {
  it("keeps answers only, so that work is done and nobody hears of it", async () => {
    const [client, well] = [await Client.open(), await Client.open()];
    const connection = proxy.connections[0];
    connection?.freeze("answers");
    client.socket.write("commit");
    await expect.poll(() => connection?.passed("requests"), { timeout: 20_000 }).toBe(6);
    await well.echo("well");
    expect([connection?.passed("answers"), client.received, client.diary]).toEqual([0, "", []]);
    connection?.heal();
    await client.has(6);
  });

  it("keeps requests only", async () => {
    const [client, well] = [await Client.open(), await Client.open()];
    const connection = proxy.connections[0];
    connection?.freeze("requests");
    client.socket.write("lost?");
    // What the server says by itself still comes.
    accepted[0]?.write("news");
    await client.has(4);
    await well.echo("well");
    expect([connection?.passed("requests"), client.received]).toEqual([0, "news"]);
  });

  it("tells neither side that the other has gone, until it heals", async () => {
    const client = await Client.open();
    await client.echo("x");
    proxy.freeze();
    client.socket.resetAndDestroy();
    await client.closes();
    const well = await Client.open();
    proxy.connections[1]?.heal();
    await well.echo("well");
    expect(accepted[0]?.destroyed).toBe(false);
    const connection = proxy.connections[0];
    proxy.heal();
    await connection?.closed;
    await isDestroyed(accepted[0]);
  });

  it("takes new connections and leaves them without an answer", async () => {
    proxy.freeze();
    const client = await Client.open();
    client.socket.write("anybody?");
    const other = await Client.open();
    proxy.connections[1]?.heal();
    await other.echo("I am");
    expect([client.received, client.diary]).toEqual(["", []]);
    proxy.heal();
    await client.has(8);
  });

  it("lets the sender wait when much is kept", async () => {
    const client = await Client.open();
    proxy.freeze("answers");
    const text = "x".repeat(40 * 1024 * 1024);
    let isWritten = false;
    client.socket.write(text, () => (isWritten = true));
    const other = await Client.open();
    proxy.connections[1]?.heal();
    // Meanwhile more than that goes back and forth beside it.
    for (let i = 0; i < 500; i += 1) await other.echo("y".repeat(100 * 1024));
    expect(isWritten).toBe(false);
    proxy.heal();
    await client.has(text.length);
  });
});

describe("ends", () => {
  it("cuts in order", async () => {
    const [client, other] = [await Client.open(), await Client.open()];
    await client.echo("x");
    proxy.connections[0]?.cut();
    await client.closes();
    expect(client.diary).toEqual(["end", "close"]);
    await other.echo("still here");
    proxy.cut();
    await other.closes();
    expect(other.diary).toEqual(["end", "close"]);
    await expect.poll(() => proxy.connections.length, { timeout: 20_000 }).toBe(0);
    await (await Client.open()).echo("new ones are fine");
  });

  it("resets", async () => {
    const [client, other] = [await Client.open(), await Client.open()];
    await client.echo("x");
    proxy.connections[0]?.reset();
    await client.closes();
    expect(client.diary).toEqual(["ECONNRESET", "close"]);
    await other.echo("still here");
    proxy.reset();
    await other.closes();
    expect(other.diary).toEqual(["ECONNRESET", "close"]);
  });

  it("cuts and resets what is frozen", async () => {
    const [cut, reset] = [await Client.open(), await Client.open()];
    proxy.freeze();
    proxy.connections[0]?.cut();
    proxy.connections[1]?.reset();
    await Promise.all([cut.closes(), reset.closes()]);
    expect([cut.diary, reset.diary]).toEqual([
      ["end", "close"],
      ["ECONNRESET", "close"],
    ]);
  });

  it("refuses new connections, keeps old ones, and takes new ones again on its port", async () => {
    const client = await Client.open();
    const port = proxy.port;
    await proxy.refuse();
    await proxy.refuse();
    const refused = connect(port, "127.0.0.1");
    const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNREFUSED");
    await client.echo("still here");
    expect(proxy.taken).toBe(1);

    await proxy.accept();
    await proxy.accept();
    expect(proxy.port).toBe(port);
    await (await Client.open()).echo("here again");
    expect(proxy.taken).toBe(2);
  });
});
