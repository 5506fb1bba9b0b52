import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

/** Bytes after which a connection is broken. */
const MOST_SENT = 400_000;

/**
 * Serves files of a folder by ranges, to pages of every origin. Below `/moved/` it redirects to `target` instead; below
 * `/dropping/` it breaks the connection in every longer answer; `/sent/` and a path tells how many bytes of that file it
 * has sent. `page` is the text at `/`, `headers` go with every answer, and `onPost` takes the text of what is posted. Gives
 * its address and a way to close it.
 */
export async function serve(folder, { target, page, headers = {}, onPost } = {}) {
  const sent = new Map();
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "range");
    response.setHeader("access-control-expose-headers", "content-range, etag");
    if (request.method === "OPTIONS") response.writeHead(204).end();
    else if (request.method === "POST") receive(request, response, onPost);
    else if (path === "/" && page !== undefined) {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    } else if (path.startsWith("/moved/")) {
      response.writeHead(302, { location: `${target}${path.slice("/moved/".length)}` }).end();
    } else if (path.startsWith("/dropping/")) {
      sendFile(join(folder, path.slice("/dropping/".length)), request.headers.range, response, MOST_SENT);
    } else if (path.startsWith("/sent/")) {
      response.end(String(sent.get(path.slice("/sent".length)) ?? 0));
    } else {
      const bytes = sendFile(join(folder, path), request.headers.range, response);
      sent.set(path, (sent.get(path) ?? 0) + bytes);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}

async function receive(request, response, onPost) {
  const parts = [];
  for await (const part of request) parts.push(part);
  response.writeHead(204).end();
  onPost?.(Buffer.concat(parts).toString("utf8"));
}

/** Sends a file or a range of it; gives the number of bytes. */
function sendFile(path, range, response, most = Number.POSITIVE_INFINITY) {
  let bytes;
  try {
    bytes = readFileSync(path);
  } catch {
    response.writeHead(404).end();
    return 0;
  }
  // A page loads modules only as what they are.
  response.setHeader("content-type", path.endsWith(".js") ? "text/javascript" : "application/octet-stream");
  response.setHeader("etag", `"${bytes.length}"`);
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  if (first === undefined) {
    response.writeHead(200).end(bytes);
    return bytes.length;
  }
  const start = Number(first);
  const end = Math.min(Number(last) + 1, bytes.length);
  if (start >= end) {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    return 0;
  }
  response.setHeader("content-range", `bytes ${start}-${end - 1}/${bytes.length}`);
  if (end - start <= most) response.writeHead(206).end(bytes.subarray(start, end));
  else {
    response.writeHead(206, { "content-length": end - start });
    response.write(bytes.subarray(start, start + most), () => response.destroy());
  }
  return Math.min(end - start, most);
}
