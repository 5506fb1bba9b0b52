import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

/** A part of the key that nginx and the signer share. */
export const SECRET = "interop";

/**
 * The server behind nginx: one with faults, or one that signs addresses; the first part of the path says which. It serves
 * the file that is at `path` now.
 */
export async function startUpstream(path) {
  const file = readFileSync(path);
  const counts = new Map();
  const server = createServer((request, response) => {
    const [, fault, ...rest] = new URL(request.url, "http://upstream").pathname.split("/");
    const count = (counts.get(fault) ?? 0) + 1;
    counts.set(fault, count);
    FAULTS[fault]({ request, response, file, count, rest, ...rangeOf(request, file.length) });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const FAULTS = {
  /** Hangs up on two of three requests before it answers. */
  "cut-head": (exchange) => {
    if (exchange.count % 3 === 0) sendPart(exchange);
    else exchange.response.destroy();
  },

  /** Announces the whole part, and hangs up in its middle. */
  "cut-body": (exchange) => sendPart(exchange, { most: 700_001 }),

  /** Sends a beginning of the part, and says of no byte that it is missing (HTTP/1.0: the end is the end). */
  "cut-unsaid": (exchange) => sendPart(exchange, { most: 700_001, announced: false }),

  /** Says nothing to every second request. */
  "stall-head": (exchange) => {
    if (exchange.count % 2 === 0) sendPart(exchange);
  },

  /** Falls silent in the middle of the part. */
  "stall-body": ({ response, file, start, end }) => {
    response.writeHead(206, partHead(file, start, end));
    response.write(file.subarray(start, Math.min(end, start + 700_001)));
  },

  /** Sends whole files to everyone. */
  whole: ({ response, file }) =>
    response.writeHead(200, { etag: '"whole"', "content-length": file.length }).end(file),

  /** Lets those in who have the key, and has nginx send the file. */
  accel: ({ request, response }) => {
    if (request.headers["x-key"] !== "secret key") response.writeHead(403).end();
    else response.writeHead(200, { "x-accel-redirect": "/internal/model.safetensors" }).end();
  },

  /** Leads to an address that is good until the end of the next second, or was until a minute ago. */
  sign: ({ response, rest: [port, ...path] }) => {
    const target = `/${path.join("/")}`;
    const expires = Math.floor(Date.now() / 1000) + (path[0].endsWith("always") ? -60 : 1);
    const signature = createHash("md5").update(`${expires}${target} ${SECRET}`).digest("base64url");
    const location = `http://127.0.0.1:${port}${target}?signature=${signature}&expires=${expires}`;
    response.writeHead(302, { location }).end("moved");
  },
};

/** Sends the part asked for, or at most so many bytes of it before it hangs up. */
function sendPart({ response, file, start, end }, { most = Infinity, announced = true } = {}) {
  const part = file.subarray(start, end);
  const { "content-length": length, ...head } = partHead(file, start, end);
  response.writeHead(206, announced ? { ...head, "content-length": length } : head);
  if (part.length <= most) response.end(part);
  else if (!announced) response.end(part.subarray(0, most));
  else response.write(part.subarray(0, most), () => response.destroy());
}

function partHead(file, start, end) {
  const range = `bytes ${start}-${end - 1}/${file.length}`;
  return { etag: '"upstream"', "content-range": range, "content-length": end - start };
}

function rangeOf(request, size) {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  return match
    ? { start: Number(match[1]), end: Math.min(Number(match[2]) + 1, size) }
    : { start: 0, end: size };
}
