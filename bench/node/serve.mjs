// Serves ranges of one file under every path, and says at /traffic what each path was asked for.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";

const [path] = process.argv.slice(2);
const { size, mtimeMs } = statSync(path);
/** Milliseconds that each answer waits, as over a network. */
const DELAY = 20;
const traffic = {};

const server = createServer(async (request, response) => {
  if (request.url === "/traffic") return response.end(JSON.stringify(traffic));
  await setTimeout(DELAY);
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")?.map(Number) ?? [
    0,
    0,
    size - 1,
  ];
  const end = Math.min(last, size - 1);
  traffic[request.url] ??= { requests: 0, bytes: 0 };
  traffic[request.url].requests++;
  traffic[request.url].bytes += end + 1 - first;
  response.writeHead(request.headers.range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-length": end + 1 - first,
    "content-range": `bytes ${first}-${end}/${size}`,
    etag: `"${size}-${mtimeMs}"`,
  });
  createReadStream(path, { start: first, end, highWaterMark: 1 << 20 }).pipe(response);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
