import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fromBlob } from "../../src/source/blob.ts";
import { openUrl } from "../../src/source/http.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { observed, type Traffic } from "../../src/source/observed.ts";
import { readInto } from "../../src/source/read-into.ts";
import { noise } from "../support.ts";
import { drop, FileServer, redirect, status } from "./http-server.ts";

const bytes = noise(3000);
const none = (): Traffic => ({ requests: 0, bytes: 0 });

describe("observed", () => {
  it("passes on what a source is and can do, and no more", async () => {
    const blob = observed(fromBlob(new File([bytes], "a.bin")), none());
    assert.deepEqual([blob.size, blob.name, blob.cost], [3000, "a.bin", fromBlob(new Blob([])).cost]);
    assert.deepEqual(["view" in blob, "readInto" in blob], [false, false]);
    let closed = 0;
    const memory = observed({ ...fromBytes(bytes), close: () => void closed++ }, none());
    assert.deepEqual(["view" in memory, "readInto" in memory], [true, true]);
    await memory.close?.();
    assert.equal(closed, 1);
    await blob.close?.();
  });

  it("counts the operations and the bytes of several sources", async () => {
    const traffic = none();
    const range = fc.tuple(fc.nat(1000), fc.nat(1000), fc.constantFrom("read", "readInto", "view"));
    const sources = [fromBytes(bytes), fromBlob(new Blob([bytes]))].map((source) =>
      observed(source, traffic),
    );
    const expected = none();
    await fc.assert(
      fc.asyncProperty(range, fc.constantFrom(...sources), async ([offset, length, way], source) => {
        let found = new Uint8Array(length);
        if (way === "view" && source.view) found = new Uint8Array(source.view(offset, length));
        else if (way === "read") found = new Uint8Array(await source.read(offset, length));
        else await readInto(source, offset, found);
        assert.deepEqual(found, bytes.slice(offset, offset + length));
        expected.requests++;
        expected.bytes += length;
        assert.deepEqual(traffic, expected);
      }),
      { seed: 42, numRuns: 200 },
    );
  });

  it("does not wait where the source does not", () => {
    const traffic = none();
    const target = new Uint8Array(5);
    assert.equal(observed(fromBytes(bytes), traffic).readInto!(7, target), undefined);
    assert.deepEqual([target, traffic], [bytes.slice(7, 12), { requests: 1, bytes: 5 }]);
  });

  it("counts bytes when they come, and none of reads that fail", async () => {
    const traffic = none();
    const failing = observed(
      {
        size: 10,
        read: () => Promise.reject(new Error("broken")),
        readInto: async () => {
          await null;
          throw new Error("broken");
        },
        view() {
          throw new Error("broken");
        },
      },
      traffic,
    );
    await assert.rejects(failing.read(0, 3), /broken/);
    await assert.rejects(async () => failing.readInto!(0, new Uint8Array(3)), /broken/);
    assert.throws(() => failing.view!(0, 3), /broken/);
    assert.deepEqual(traffic, { requests: 3, bytes: 0 });
    const late = observed({ size: 10, read: fromBytes(bytes).read, readInto: async () => {} }, traffic);
    const wait = late.readInto!(0, new Uint8Array(4));
    assert.deepEqual(traffic, { requests: 4, bytes: 0 });
    await wait;
    assert.deepEqual(traffic, { requests: 4, bytes: 4 });
  });
});

describe("the traffic of a URL", () => {
  it("is what goes over the wire: the first request, redirects, repetitions", async () => {
    const server = await FileServer.start(bytes);
    const traffic = none();
    const source = await openUrl(server.url, { firstRead: 1000, retry: { firstWait: 1 }, traffic });
    assert.deepEqual(traffic, { requests: 1, bytes: 1000 });
    await source.read(10, 500);
    assert.deepEqual(traffic, { requests: 1, bytes: 1000 });
    server.script.push(status(503), redirect("/elsewhere"), drop(100));
    await source.read(1000, 500);
    // The 503, the redirect and where it leads, and the rest after the drop.
    assert.deepEqual(traffic, { requests: 5, bytes: 1500 });
    assert.equal(server.requests.length, traffic.requests);
    await openUrl(server.url, { firstRead: 200, traffic });
    assert.deepEqual(traffic, { requests: 6, bytes: 1700 });
  });
});
