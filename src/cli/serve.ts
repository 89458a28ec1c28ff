import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { InvalidOptionError } from "../errors.ts";
import type { JobServerOptions } from "../server/index.ts";
import { type CommandModule, repeatable, withJson } from "./command.ts";
import { loadConfig, type ServeConfig } from "./config-file.ts";
import { untilStopped } from "./long-running.ts";
import { fromEnv, inTime, type StorageOptions, timeoutOf, withConfig } from "./storage-url.ts";
import { EXIT, type Terminal } from "./terminal.ts";
import { terminalLogger } from "./terminal-logger.ts";
import { tokensFrom, tokensOfFile } from "./tokens.ts";
import { wholeNumberIf } from "./values.ts";
import { jsonText, visible } from "./visible.ts";

interface Options extends StorageOptions {
  readonly port?: string;
  readonly host?: string;
  readonly name?: readonly string[];
  readonly token?: readonly string[];
  readonly tokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly zmq?: string;
  readonly zmqKeyFile?: string;
  readonly zmqClient?: readonly string[];
  readonly json?: true;
}

/** A job server in the foreground. */
export const serve: CommandModule = (command, bind) => {
  describe(command);
  bind<Options>(command, async ([given], options, terminal) => {
    const { serve: file = {} } = await loadConfig(terminal.cwd, options.config);
    const url = given ?? file.storage;
    if (url === undefined) {
      throw new InvalidOptionError("<storage-url>", url, "Say what to serve: jobwright serve lmdb:./jobs");
    }
    const logger = terminalLogger(terminal);
    const [{ storageFor }, { JobServer }] = await Promise.all([
      import("../connect.ts"),
      import("../server/index.ts"),
    ]);
    const storage = await storageFor(url, { logger });
    const chosen = serverOptions(options, file, terminal);
    const server = new JobServer({ ...chosen, storage, logger });
    return untilStopped(terminal, {
      start: async () => {
        await inTime(storage, timeoutOf(options), () => storage.open());
        await server.start();
        // Only now: whoever waits for this line may connect.
        const { url: address, port } = server;
        const zmqUrl = chosen.zmq === undefined ? null : server.zmqUrl;
        terminal.out(
          options.json
            ? `${jsonText({ url: address, port, zmqUrl, storage: storage.label })}\n`
            : `Serving ${visible(storage.label)} at ${address}${zmqUrl === null ? "" : ` and ${zmqUrl}`}\n`,
        );
      },
      stop: async () => {
        await server.stop();
        await storage.close();
      },
      ended: EXIT.done,
    });
  });
};

function describe(command: Command): void {
  command
    .description(
      "Offers a storage to programs that connect to it with ws:// or wss:// URLs, until SIGTERM or SIGINT: then calls " +
        "that go on are answered, and it ends with 0. A second signal ends it at once.",
    )
    .usage("<storage-url> [options]")
    .argument("[storage-url]", "lmdb:./folder, postgres://… or memory:")
    .option("--port <number>", "port to listen on; 0 takes a free one (default: 7420)")
    .option(
      "--host <address>",
      "address to listen on; others than this machine's own need a token (default: 127.0.0.1)",
    )
    .addOption(
      repeatable("--name <name>", "a name by which clients call it, behind a proxy; may be repeated"),
    )
    .addOption(repeatable("--token <token>", "a secret that clients must show; may be repeated"))
    .option("--token-file <file>", "a file with a token on each line, and after it its scopes, if not all")
    .option("--tls-cert <file>", "serve wss: with this certificate (PEM) ...")
    .option("--tls-key <file>", "... and its key")
    .option("--tls-ca <file>", "clients must show a certificate that this one signed")
    .option("--zmq <address>", "serve ZeroMQ, too: tcp://127.0.0.1:7421")
    .option("--zmq-key-file <file>", "a file with the server's secret CURVE key")
    .addOption(
      repeatable("--zmq-client <key>", "the public key of a client that may come in; may be repeated"),
    );
  withJson(withConfig(command)).addHelpText(
    "after",
    "\nOther users of this machine can read the arguments of a program: prefer --token-file, or the\n" +
      "variable JOBWRIGHT_TOKENS with spaces between tokens.",
  );
}

type ServerOptions = Omit<JobServerOptions, "storage" | "logger">;

/** Flag before environment before file. */
function serverOptions(options: Options, file: ServeConfig, terminal: Terminal): ServerOptions {
  const port = wholeNumberIf(options.port, "--port") ?? file.port;
  const host = options.host ?? file.host;
  const hosts = options.name ?? file.names;
  const tokens = tokensOf(options, file, terminal);
  const tls = tlsOf(options, file, terminal);
  const zmq = zmqOf(options, file, terminal);
  return {
    ...(port === undefined ? {} : { port }),
    ...(host === undefined ? {} : { host }),
    ...(hosts === undefined ? {} : { hosts }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(tls === undefined ? {} : { tls }),
    ...(zmq === undefined ? {} : { zmq }),
  };
}

function tokensOf(options: Options, file: ServeConfig, terminal: Terminal): JobServerOptions["tokens"] {
  const inFlags = [
    ...(options.token ?? []),
    ...(options.tokenFile === undefined ? [] : tokensOfFile(resolve(terminal.cwd, options.tokenFile))),
  ];
  if (inFlags.length > 0) return inFlags;
  const variable = fromEnv(terminal, "JOBWRIGHT_TOKENS");
  if (variable !== undefined) return tokensFrom(variable);
  const inFile = [
    ...(file.tokens ?? []),
    ...(file.tokenFile === undefined ? [] : tokensOfFile(file.tokenFile)),
  ];
  return inFile.length > 0 ? inFile : undefined;
}

function tlsOf(options: Options, file: ServeConfig, terminal: Terminal): JobServerOptions["tls"] {
  const pathOf = (flag: string | undefined, inFile: string | undefined): string | undefined =>
    flag === undefined ? inFile : resolve(terminal.cwd, flag);
  const cert = pathOf(options.tlsCert, file.tlsCert);
  const key = pathOf(options.tlsKey, file.tlsKey);
  const ca = pathOf(options.tlsCa, file.tlsCa);
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined) throw new InvalidOptionError("--tls-cert", cert, "Give the certificate, too.");
  if (key === undefined) throw new InvalidOptionError("--tls-key", key, "Give the certificate's key, too.");
  return {
    cert: readText(cert, "--tls-cert"),
    key: readText(key, "--tls-key"),
    ...(ca === undefined ? {} : { ca: readText(ca, "--tls-ca") }),
  };
}

function zmqOf(options: Options, file: ServeConfig, terminal: Terminal): JobServerOptions["zmq"] {
  const address = options.zmq ?? file.zmq;
  const keyFile =
    options.zmqKeyFile === undefined ? file.zmqKeyFile : resolve(terminal.cwd, options.zmqKeyFile);
  const clients = options.zmqClient ?? file.zmqClients;
  if (address === undefined && keyFile === undefined && clients === undefined) return undefined;
  return {
    ...(address === undefined ? {} : { address }),
    ...(keyFile === undefined ? {} : { secretKey: readText(keyFile, "--zmq-key-file").trim() }),
    ...(clients === undefined ? {} : { clients }),
  };
}

function readText(path: string, option: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    throw new InvalidOptionError(option, path, `The file cannot be read (${code}).`);
  }
}
