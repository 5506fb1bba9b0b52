import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { openUrl } from "../../src/source/http.ts";
import { noise } from "../support.ts";
import { type Answer, drop, FileServer, good, part, redirect, stall, status, whole } from "./http-server.ts";

const server = await FileServer.start(noise(1));
beforeEach(() => server.reset());

const chunked = { "content-length": undefined, "transfer-encoding": "chunked" };

/** The file becomes another one, of another length or the same, and that is sent. */
const changed =
  (extra: number): Answer =>
  (exchange) => {
    exchange.file.bytes = noise(exchange.file.bytes.length + extra, 99);
    exchange.file.etag = `"changed by ${extra}"`;
    const { start } = exchange;
    const end = Math.min(exchange.end, exchange.file.bytes.length);
    if (start < end) part()({ ...exchange, end });
    else status(416, { "content-range": `bytes */${exchange.file.bytes.length}` })(exchange);
  };

/** The range, with this many bytes too many or too few at its end, and no word of it. */
const resized =
  (by: number): Answer =>
  (exchange) => {
    if (exchange.start >= exchange.end) return good(exchange);
    const body = new Uint8Array(Math.max(exchange.end - exchange.start + by, 0));
    body.set(exchange.file.bytes.subarray(exchange.start, exchange.start + body.length));
    part({ body, headers: chunked })(exchange);
  };

/** Faults that pass, if they do not come too often in a row. */
const passing: fc.Arbitrary<Answer> = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -1, max: 3000 }).map(drop) },
  fc.constantFrom(408, 429, 500, 503).map((code) => status(code, { "retry-after": "0" })),
  fc.integer({ min: -50, max: -1 }).map(resized),
  fc.constant(redirect("/elsewhere")),
);

/** Faults that cannot be helped. */
const lasting: fc.Arbitrary<Answer> = fc.oneof(
  fc.integer({ min: 1, max: 50 }).map(resized),
  fc.integer({ min: -5, max: 5 }).map(changed),
  fc.record({ start: fc.nat(3), end: fc.nat(6000) }).map((lies) => part(lies)),
  fc.integer({ min: 0, max: 6000 }).map((total) => part({ total })),
  fc
    .integer({ min: 0, max: 6000 })
    .map((length) => part({ headers: { ...chunked, "content-range": `bytes */${length}` } })),
  fc.constantFrom(401, 403, 404, 416).map((code) => status(code)),
  fc.constant(whole()),
  fc.constant(part({ headers: { "content-encoding": "deflate" } })),
  fc.constant(stall(10)),
);

const size = fc.oneof({ weight: 9, arbitrary: fc.nat(6000) }, fc.constant(0));
const reads = fc.array(fc.tuple(fc.nat(6000), fc.nat(6000)), { maxLength: 5 });
const firstRead = fc.integer({ min: 1, max: 4000 });

/** Opens the file and reads, all at once; counts reads that gave the right bytes and operations that gave an error of ours. */
async function readUnder(
  faults: readonly Answer[],
  length: number,
  ranges: readonly (readonly [number, number])[],
  options: { readonly firstRead: number; readonly patience?: number },
): Promise<{ right: number; refused: number; size: number }> {
  const bytes = noise(length, length + 1);
  server.reset(bytes);
  server.script.push(...faults);
  const count = { right: 0, refused: 0, size: -1 };
  const refuse = (error: unknown): void => {
    if (!(error instanceof SafetensorsError)) throw error;
    count.refused++;
  };
  const source = await openUrl(server.url, { ...options, retry: { firstWait: 0 } }).catch(refuse);
  if (!source) return count;
  const version = server.file.bytes;
  count.size = source.size;
  const read = async ([from, most]: readonly [number, number]): Promise<void> => {
    const start = Math.min(from, source.size);
    const end = Math.min(start + most, source.size);
    const found = await source.read(start, end - start).catch(refuse);
    if (!found) return;
    assert.deepEqual(found, version.subarray(start, end));
    count.right++;
  };
  await Promise.all(ranges.map(read));
  return count;
}

describe("random reads of a random file", () => {
  it("are right when faults pass", async () => {
    let requests = 0;
    const faults = fc.array(passing, { minLength: 1, maxLength: 4 });
    const property = fc.asyncProperty(
      faults,
      size,
      reads,
      firstRead,
      async (faults, size, reads, firstRead) => {
        const count = await readUnder(faults, size, reads, { firstRead });
        assert.deepEqual(count, { size, right: reads.length, refused: 0 });
        requests += server.requests.length;
      },
    );
    await fc.assert(property, { seed: 42, numRuns: 80 });
    assert.ok(requests > 200, `${requests} requests`);
  });

  it("are right or an error under any faults", async () => {
    const total = { right: 0, refused: 0 };
    const faults = fc.array(fc.oneof(passing, lasting, fc.constant<Answer>(good)), { maxLength: 12 });
    const property = fc.asyncProperty(
      faults,
      size,
      reads,
      firstRead,
      async (faults, size, reads, firstRead) => {
        const { right, refused } = await readUnder(faults, size, reads, { firstRead, patience: 30 });
        total.right += right;
        total.refused += refused;
      },
    );
    await fc.assert(property, { seed: 42, numRuns: 150 });
    assert.ok(total.right > 100 && total.refused > 50, JSON.stringify(total));
  });
});
