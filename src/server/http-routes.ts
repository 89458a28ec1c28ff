import type { IncomingMessage, ServerResponse } from "node:http";
import { allows } from "../wire/methods.ts";
import { AccessDeniedError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import type { Access } from "./access.ts";
import type { Counters } from "./counters.ts";
import { metricsText } from "./metrics.ts";
import { credentialsOf } from "./ws-listener.ts";

export interface RoutesDeps {
  readonly storage: Storage;
  readonly access: Access;
  readonly counters: Counters;
  readonly isOwnHost: (host: string) => boolean;
  readonly isStopping: () => boolean;
  /** Whatever else is served on this port. */
  readonly fallback?: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
}

/** How long a storage may take to show that it is there. */
const READY_MS = 2_000;

/**
 * What the server says over HTTP: `/livez` (the program runs), `/readyz` (the storage answers, and it is not
 * stopping) and `/metrics`. A server whose storage is away is not dead: to restart it would help nobody.
 */
export async function answerHttp(
  request: IncomingMessage,
  response: ServerResponse,
  deps: RoutesDeps,
): Promise<void> {
  const path = (request.url ?? "/").split("?", 1)[0];
  // Probes name the address they were told, which may be any; what they learn is nothing.
  if (path === "/livez") return text(request, response, 200, "ok\n");
  if (path === "/readyz") {
    if (deps.isStopping()) return text(request, response, 503, "stopping\n");
    const trouble = await troubleOf(deps.storage);
    return trouble === undefined
      ? text(request, response, 200, "ok\n")
      : text(request, response, 503, `${trouble}\n`);
  }
  if (!deps.isOwnHost(request.headers.host ?? "")) return text(request, response, 421, "another host\n");
  if (path === "/metrics") {
    try {
      if (!allows(deps.access.scopesOf(credentialsOf(request)), "read"))
        throw new AccessDeniedError("no scope");
    } catch {
      response.setHeader("WWW-Authenticate", "Bearer");
      return text(request, response, 401, 'a token with the scope "read" is wanted\n');
    }
    response.setHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return text(request, response, 200, await metricsText(deps.storage, deps.counters));
  }
  if (deps.fallback !== undefined) return deps.fallback(request, response);
  text(request, response, 404, "There is /livez, /readyz and /metrics; jobs travel by WebSocket.\n");
}

/** Questions under way, by the storage they were put to. */
const asking = new WeakMap<Storage, Promise<string | undefined>>();

/** What is wrong with the storage, if anything. Nobody shows a token for this: however many ask, it is asked once. */
function troubleOf(storage: Storage): Promise<string | undefined> {
  let trouble = asking.get(storage);
  if (trouble === undefined) {
    trouble = ask(storage).finally(() => asking.delete(storage));
    asking.set(storage, trouble);
  }
  return trouble;
}

async function ask(storage: Storage): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("the storage does not answer"), READY_MS);
  });
  try {
    const asked = storage.count({ state: "running" }).then(
      () => undefined,
      () => "the storage fails",
    );
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}

function text(request: IncomingMessage, response: ServerResponse, status: number, body: string): void {
  const isLook = request.method === "GET" || request.method === "HEAD";
  if (!isLook) response.setHeader("Allow", "GET, HEAD");
  if (!response.hasHeader("Content-Type")) response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Cache-Control", "no-store");
  response.writeHead(isLook ? status : 405);
  response.end(request.method === "HEAD" ? undefined : isLook ? body : "GET only\n");
}
