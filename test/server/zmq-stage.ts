import { Dealer } from "zeromq";
import { JobServer, type JobServerOptions } from "../../src/server/index.ts";
import { RemoteStorage, type RemoteStorageOptions } from "../../src/storage/remote/index.ts";
import { joinFrame, packMessage, unpackFrame } from "../../src/wire/frame.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { serving, type Serving } from "./support/serving.ts";

/** A free port of this machine. */
export const FREE = "tcp://127.0.0.1:0";

/** A server that listens by ZeroMQ, with clients that come by it. */
export async function zmqServing(options: Partial<JobServerOptions> = {}): Promise<Serving> {
  const served = await serving({ zmq: { address: FREE }, ...options });
  const { client } = served;
  return Object.assign(served, {
    client: (more: Partial<RemoteStorageOptions> = {}) => client({ url: served.server.zmqUrl, ...more }),
  });
}

/** The embedded storages through a server that is reached by ZeroMQ. */
export const zmqStorages: readonly StorageKind[] = storages
  .filter(({ label }) => label !== "postgres")
  .map((kind) => ({
    ...kind,
    label: `zmq over ${kind.label}`,
    create: async (options = {}) => {
      const behind = await kind.create(options);
      const server = new JobServer({ storage: behind, port: 0, zmq: { address: FREE } });
      await server.start();
      const storage = new RemoteStorage({ url: server.zmqUrl, clock: behind.clock });
      const close = storage.close.bind(storage);
      let closed: Promise<void> | undefined;
      return Object.assign(storage, {
        close: (): Promise<void> => {
          closed ??= close().then(async () => {
            await server.stop();
            await behind.close();
          });
          return closed;
        },
      });
    },
    url: () => Promise.reject(new Error("Only the suite of storages uses these.")),
  }));

export const HELLO: readonly unknown[] = ["hello", { protocol: 2, client: "test" }];

/** A client that says what a test wants it to say, and hears only when it is asked to. */
export class RawDealer implements Disposable {
  readonly socket: Dealer;
  readonly #messages: (readonly unknown[] | "end")[] = [];

  constructor(url: string, options: ConstructorParameters<typeof Dealer>[0] = {}) {
    this.socket = new Dealer({ linger: 0, reconnectInterval: -1, ...options });
    this.socket.connect(url.replace("zmq:", "tcp:"));
  }

  /** Send messages in one frame. */
  async send(...messages: readonly (readonly unknown[])[]): Promise<void> {
    await this.socket.send(frameOf(...messages));
  }

  /** The next message, or "end" for the end of the connection; what follows that is left out. */
  async next(): Promise<readonly unknown[] | "end"> {
    while (this.#messages.length === 0) {
      for (const part of await this.socket.receive()) {
        if (part.length === 0) {
          this.#messages.push("end");
          break;
        }
        this.#messages.push(...(unpackFrame(part) as (readonly unknown[])[]));
      }
    }
    return this.#messages.shift() as readonly unknown[] | "end";
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}

export function frameOf(...messages: readonly (readonly unknown[])[]): Buffer {
  return joinFrame(messages.map(packMessage));
}
