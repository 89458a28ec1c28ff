import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Direction } from "../../support/postgres/proxy.ts";

/** Passes connections on; the first one it ends for good after so many bytes of one direction. */
export class CuttingProxy implements AsyncDisposable {
  /** Connections taken. */
  taken = 0;
  /** Bytes of the first connection that were passed on. */
  readonly passed: Record<Direction, number> = { requests: 0, answers: 0 };
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(target: number, cut: { readonly direction: Direction; readonly after: number }) {
    this.#server = createServer({ noDelay: true }, (client) => {
      this.taken += 1;
      const isFirst = this.taken === 1;
      const server = connect({ port: target, host: "127.0.0.1", noDelay: true });
      const end = (): void => {
        client.destroy();
        server.destroy();
      };
      const pass = (from: Socket, to: Socket, direction: Direction): void => {
        this.#open.add(from);
        from.on("data", (chunk: Buffer) => {
          const left = isFirst && direction === cut.direction ? cut.after - this.passed[direction] : Infinity;
          if (isFirst) this.passed[direction] += Math.min(left, chunk.length);
          if (chunk.length < left) to.write(chunk);
          // What was passed on still arrives: the end comes after it.
          else to.write(chunk.subarray(0, left), end);
        });
        from.on("error", end);
        from.on("close", () => {
          this.#open.delete(from);
          end();
        });
      };
      pass(client, server, "requests");
      pass(server, client, "answers");
    });
  }

  static async start(target: number, direction: Direction, after: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target, { direction, after });
    await new Promise<void>((resolve) => void proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }
}
