import { closeSync, openSync, readSync } from "node:fs";
import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { withServer } from "../lib/server.mjs";

const GB = 5;

/** One for the header, one for the tensor. */
const MOST_REQUESTS = 2;

/** Read one tensor of 64 MB of a file of 5 GB by http, 20 ms away. */
export async function remoteRows({ python, runs = 6 }) {
  console.error(`remote: 64 MB of ${GB} GB`);
  const path = dataFile(python, "sparse", GB);
  const headEnd = readHeadEnd(path);
  const { result: measured, traffic } = await withServer(path, (address) =>
    interleave(
      {
        ours: () => runNode(["node/remote.mjs", `${address}/ours`]),
        theirs: () => runChild(python, ["python/remote.py", `${address}/theirs`, String(headEnd)]),
      },
      runs,
    ),
  );
  assertSame(measured, "checksum");
  const ours = perRun(traffic["/ours"], runs);
  if (ours.requests > MOST_REQUESTS) throw new Error(`one tensor took ${ours.requests} requests`);
  const title = `64 MB of ${GB} GB by http, ${describe(ours)}`;
  const sides = { ...measured, opponent: `http.client, ${describe(perRun(traffic["/theirs"], runs))}` };
  return [
    compareRuns(`${title}, first call`, { ...sides, time: ({ first }) => first }),
    compareRuns(`${title}, whole process`, { ...sides, time: ({ wall }) => wall }),
  ];
}

/** Where the header of a file ends. */
function readHeadEnd(path) {
  const bytes = new DataView(new ArrayBuffer(8));
  const fd = openSync(path, "r");
  readSync(fd, bytes);
  closeSync(fd);
  return 8 + Number(bytes.getBigUint64(0, true));
}

/** All runs ask for the same, those to warm up too. */
function perRun({ requests, bytes }, runs) {
  return { requests: requests / (runs + 1), bytes: bytes / (runs + 1) };
}

function describe({ requests, bytes }) {
  return `${requests} requests, ${(bytes / 1e6).toFixed(1)} MB`;
}
