import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { blobStore, cached, fromBytes, observed, open, openStore, urlPlace } from "safetensors.js";
import { folderStore, openFile, openPath } from "safetensors.js/node";
import { torchReader } from "safetensors.js/torch";

const FILE = "model.safetensors";
const INDEX = "sharded/model.safetensors.index.json";
const CACHE = { block: 1 << 16, budget: 4 << 20 };

/**
 * The tensors of a folder that make_slices.py wrote, opened in every way: name -> function that gives the checkpoint, the
 * `traffic` that is asked of its sources, and where there is something behind them, `below`: a check of the traffic there.
 */
export function slicesSources(folder, server) {
  return {
    memory: () => openObserved(fromBytes(readFileSync(join(folder, FILE)))),
    Blob: () => openObserved(blobStore([new File([readFileSync(join(folder, FILE))], FILE)]), FILE),
    file: () => openObserved(folderStore(folder), FILE),
    "file, blocking": () => openObserved(folderStore(folder, { blocking: true }), FILE),
    "mapped file": () => openObserved(folderStore(folder, { mapped: true }), FILE),
    "path of a file": async () => ({ checkpoint: await openPath(join(folder, FILE)) }),
    "sharded folder": () => openObserved(folderStore(join(folder, "sharded"))),
    "PyTorch file": () => openObserved(folderStore(folder), "model.bin"),
    "cached file": () => openCached(join(folder, FILE)),
    HTTP: () => openServed(`${server.url}${FILE}`),
    "sharded over HTTP": () => openServed(`${server.url}${INDEX}`),
  };
}

/** Opens a source, or a file or all of a store, with its traffic counted, that of the headers left out. */
async function openObserved(place, file) {
  const traffic = { requests: 0, bytes: 0 };
  const checkpoint = place.read
    ? await open(observed(place, traffic))
    : await openStore(
        { ...place, open: async (name, options) => observed(await place.open(name, options), traffic) },
        { file, readers: [torchReader] },
      );
  Object.assign(traffic, { requests: 0, bytes: 0 });
  return { checkpoint, traffic };
}

/** Behind a cache whole blocks are read: at most the one at each end of a read is more than was asked for. */
async function openCached(path) {
  const disk = { requests: 0, bytes: 0 };
  const opened = await openObserved(cached(observed(await openFile(path), disk), CACHE));
  disk.bytes = 0;
  const below = ({ requests, bytes }) =>
    disk.bytes > 0 && disk.bytes <= bytes + 2 * requests * (CACHE.block - 1);
  return { ...opened, below };
}

/** Each read is one request to the server, as the first bytes that are kept from opening end before the data. */
async function openServed(url) {
  const wire = { requests: 0, bytes: 0 };
  const { store, file } = urlPlace(url, { traffic: wire, firstRead: 8 });
  const opened = await openObserved(store, file);
  Object.assign(wire, { requests: 0, bytes: 0 });
  const below = ({ requests, bytes }) => wire.requests === requests && wire.bytes === bytes;
  return { ...opened, below };
}

/** Serves ranges of the files of a folder, which it keeps in memory. */
export async function serveRanges(folder) {
  const files = new Map();
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url);
    if (!files.has(path)) files.set(path, readFileSync(join(folder, path)));
    const bytes = files.get(path);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range).map(Number);
    const part = bytes.subarray(first, last + 1);
    const range = `bytes ${first}-${first + part.length - 1}/${bytes.length}`;
    response.writeHead(206, { "content-range": range, "content-length": part.length, etag: '"1"' }).end(part);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}
