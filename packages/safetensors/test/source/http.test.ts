import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { beforeEach, describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { openUrl, type UrlOptions } from "../../src/source/http.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { handMade, noise, raises } from "../support.ts";
import { type Answer, drop, FileServer, part, stall, status, whole } from "./http-server.ts";

const bytes = noise(3000);
const DATE = "Thu, 01 Jan 2026 00:00:00 GMT";
const quick: UrlOptions = { firstRead: 1000, retry: { firstWait: 1 } };

const server = await FileServer.start(bytes);
beforeEach(() => server.reset(bytes));

const openServer = (options: UrlOptions = {}): Promise<ByteSource> =>
  openUrl(server.url, { ...quick, ...options });

describe("openUrl", () => {
  it("learns size and first bytes by one request, and reads the rest by one request each", async () => {
    const source = await openServer();
    assert.equal(source.size, 3000);
    assert.equal(source.name, server.url);
    assert.ok(source.cost!.operation > 0 && source.cost!.byte > 0);
    assert.deepEqual(await source.read(0, 1000), bytes.subarray(0, 1000));
    assert.deepEqual(await source.read(10, 20), bytes.subarray(10, 30));
    assert.deepEqual(server.ranges, ["0-999"]);
    assert.deepEqual(await source.read(2990, 10), bytes.subarray(2990));
    assert.deepEqual(await source.read(990, 20), bytes.subarray(990, 1010));
    assert.deepEqual(await source.read(0, 3000), bytes);
    assert.deepEqual(server.ranges, ["0-999", "2990-2999", "1000-1009", "1000-2999"]);
  });

  it("gives memory that belongs to the caller", async () => {
    const source = await openServer();
    (await source.read(0, 1000)).fill(0);
    assert.deepEqual(await source.read(0, 1000), bytes.subarray(0, 1000));
  });

  it("reads nothing without a request, and nothing outside", async () => {
    const source = await openServer();
    for (const at of [0, 1000, 2000, 3000]) assert.equal((await source.read(at, 0)).length, 0);
    for (const [offset, length] of [
      [0, 3001],
      [3000, 1],
      [-1, 1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      await assert.rejects(source.read(offset, length), raises("OUT_OF_RANGE", /has 3000/));
    }
    await assert.rejects(async () => source.readInto!(2999, new Uint8Array(2)), raises("OUT_OF_RANGE"));
    assert.equal(server.requests.length, 1);
  });

  it("opens a file smaller than the first read, and one as long", async () => {
    for (const firstRead of [3000, 3001, 1 << 20]) {
      server.reset();
      const source = await openServer({ firstRead });
      assert.deepEqual(await source.read(0, 3000), bytes);
      assert.equal(server.requests.length, 1);
    }
  });

  it("opens an empty file, as servers differ in answering for it", async () => {
    const answers: Answer[] = [status(416, { "content-range": "bytes */0" }), whole()];
    for (const answer of answers) {
      server.reset(new Uint8Array(0));
      server.script.push(answer);
      const source = await openServer();
      assert.equal(source.size, 0);
      assert.equal((await source.read(0, 0)).length, 0);
    }
  });

  it("keeps the connection", async () => {
    const before = server.connections.size;
    const source = await openServer();
    for (let i = 0; i < 20; i++) await source.read(1000 + i, 5);
    assert.ok(server.connections.size <= before + 1, `${server.connections.size - before} connections`);
  });

  it("keeps ranges out of the cache, and asks for them as they are", async () => {
    let seen: RequestInit | undefined;
    const spy = function (this: unknown, url: string, init: RequestInit): Promise<Response> {
      // In a browser, fetch refuses to be a method.
      assert.equal(this, undefined);
      seen = init;
      return fetch(url, init);
    };
    await openServer({
      fetch: spy as typeof fetch,
      headers: { Range: "bytes=7-9", "Accept-Encoding": "gzip" },
    });
    assert.equal((seen as { cache?: string }).cache, "no-store");
    assert.equal(server.requests[0]!.headers.range, "bytes=0-999");
    assert.match(server.requests[0]!.headers["accept-encoding"] as string, /^identity(, identity)?$/);
  });

  it("serves many reads at once", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): unknown => warnings.push(warning);
    process.on("warning", onWarning);
    const source = await openServer();
    const { signal } = new AbortController();
    const reads = Array.from({ length: 200 }, (_, i) => source.read(1000 + 9 * i, 9 + (i % 5), { signal }));
    for (const [i, found] of (await Promise.all(reads)).entries()) {
      assert.deepEqual(found, bytes.subarray(1000 + 9 * i, 1000 + 9 * i + 9 + (i % 5)));
    }
    assert.equal(getEventListeners(signal, "abort").length, 0);
    process.off("warning", onWarning);
    assert.deepEqual(warnings, []);
  });

  it("refuses options and addresses that make no sense", async () => {
    for (const firstRead of [0, -1, 0.5, Number.NaN]) {
      await assert.rejects(openServer({ firstRead }), raises("OUT_OF_RANGE", /firstRead/));
    }
    for (const url of [
      "model?token=secret",
      "",
      "http://",
      "ftp://a/secret",
      "file:///secret",
      "http://me:secret@127.0.0.1/",
    ]) {
      await assert.rejects(openUrl(url), (error: Error) => {
        assert.doesNotMatch(String(error.stack) + String(error.cause), /secret/);
        return raises("IO", /no http or https address/)(error);
      });
    }
    await assert.rejects(openServer({ headers: { token: "sec\nret" } }), (error: Error) => {
      assert.doesNotMatch(String(error.stack) + String(error.cause), /ret/);
      return raises("IO", /header "token" has a value/)(error);
    });
    assert.equal(server.requests.length, 0);
  });
});

describe("a checkpoint behind a URL", () => {
  it("takes one request for the header and one for a tensor", async () => {
    const data = noise(400_000, 7);
    server.reset(
      handMade({
        first: { dtype: "F32", shape: [50_000], data: data.subarray(0, 200_000) },
        second: { dtype: "U8", shape: [200_000], data: data.subarray(200_000) },
      }),
    );
    const checkpoint = await open(await openUrl(server.url));
    assert.deepEqual([...checkpoint.keys()], ["first", "second"]);
    assert.equal(server.requests.length, 1);
    assert.deepEqual(await checkpoint.get("second").bytes(), data.subarray(200_000));
    assert.equal(server.requests.length, 2);
  });

  it("takes two requests for a header longer than the first read", async () => {
    server.reset(
      handMade(
        { only: { dtype: "U8", shape: [4], data: bytes.subarray(0, 4) } },
        { long: "x".repeat(200_000) },
      ),
    );
    const checkpoint = await open(await openUrl(server.url));
    assert.equal(server.requests.length, 2);
    assert.deepEqual(await checkpoint.get("only").bytes(), bytes.subarray(0, 4));
    assert.equal(server.requests.length, 3);
  });
});

describe("a server that does not serve ranges", () => {
  it("is good enough for a file that fits in the first read", async () => {
    server.usual = whole();
    const source = await openServer({ firstRead: 3000 });
    assert.deepEqual(await source.read(0, 3000), bytes);
  });

  it("gives the beginning of a larger file, and is not listened to for longer", async () => {
    const sent: number[] = [];
    server.usual = ({ response }) => {
      const number = sent.push(0) - 1;
      const pieces = function* (): Generator<Uint8Array> {
        for (; sent[number]! < 64 << 20; sent[number]! += bytes.length) yield bytes;
      };
      response.writeHead(200, { "content-length": bytes.length * 1e6 });
      pipeline(pieces, response).catch(() => {});
    };
    const source = await openServer();
    assert.equal(source.size, bytes.length * 1e6);
    assert.deepEqual(await source.read(0, 1000), bytes.subarray(0, 1000));
    await assert.rejects(
      source.read(999, 2),
      raises("UNSUPPORTED", /does not send parts/, { kind: "no-ranges" }),
    );
    assert.equal(sent.length, 2);
    for (const { socket } of server.requests) await closed(socket);
    // What the buffers of both sides hold has been sent.
    for (const count of sent) assert.ok(count < 16 << 20, `${count} bytes were sent`);
  });

  it("is refused when it does not say how long the file is", async () => {
    const answers: Answer[] = [
      ({ response }) => response.writeHead(200).end(bytes),
      whole({ "content-encoding": "gzip" }),
    ];
    for (const answer of answers) {
      server.script.push(answer);
      await assert.rejects(
        openServer(),
        raises("UNSUPPORTED", /download it and open the copy/, { kind: "no-ranges" }),
      );
    }
  });
});

describe("a whole file that is longer than its head says", () => {
  it("is refused: it was compressed, and the browser does not show that", async () => {
    const answer = async (): Promise<Response> =>
      new Response(bytes, { headers: { "content-length": "1000" } });
    await assert.rejects(openServer({ fetch: answer }), raises("IO", /more than it was asked for/));
  });
});

describe("an answer that is not what was asked for", () => {
  const chunked = { "content-length": undefined, "transfer-encoding": "chunked" };
  const wrong: Readonly<Record<string, readonly [Answer, RegExp]>> = {
    "another start": [part({ start: 1001 }), /asked for bytes 1000 to 1010 and answered with 1001 to 1010/],
    "an earlier end": [part({ end: 1009 }), /answered with 1000 to 1009/],
    "a later end": [part({ end: 1011 }), /answered with 1000 to 1011/],
    "no total": [part({ total: "*" }), /with the range "bytes 1000-1009\/\*"/],
    "no range": [part({ headers: { "content-range": undefined } }), /without Content-Range/],
    "too short a body": [part({ body: bytes.subarray(1000, 1009) }), /announces "9" bytes for a range of 10/],
    "too long a body": [part({ body: bytes.subarray(1000, 1011) }), /announces "11" bytes for a range of 10/],
    "a body longer than its head says": [
      part({ body: bytes.subarray(1000, 1011), headers: chunked }),
      /more than it was asked/,
    ],
    "a compressed body": [part({ headers: { "content-encoding": "br" } }), /compressed/],
    "a refusal for bytes that are there": [
      status(416, { "content-range": "bytes */3000" }),
      /bytes that it has/,
    ],
  };
  for (const [what, [answer, message]] of Object.entries(wrong)) {
    it(`is refused: ${what}`, async () => {
      const source = await openServer();
      server.script.push(answer);
      await assert.rejects(source.read(1000, 10), raises("IO", message));
      assert.equal(server.requests.length, 2);
      assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
    });
  }

  it("is refused at the first request too", async () => {
    for (const lies of [
      { start: 1 },
      { end: 999 },
      { total: 500 },
      { total: "*" },
      { body: bytes.subarray(0, 999) },
    ]) {
      server.script.push(part(lies));
      await assert.rejects(openServer(), raises("IO"));
    }
    server.script.push(status(416));
    await assert.rejects(openServer(), raises("IO", /status 416/));
  });
});

describe("a file that changes", () => {
  const changes: Readonly<Record<string, () => void>> = {
    "its ETag": () => (server.file.etag = '"two"'),
    "its size": () => (server.file.bytes = noise(3001)),
    "its size, to less than is read": () => (server.file.bytes = noise(1000)),
    "its size, to nothing": () => (server.file.bytes = new Uint8Array(0)),
    "its ETag, which becomes weak": () => (server.file.etag = 'W/"one"'),
    "its ETag, which is gone": () => (server.file.etag = undefined),
  };
  for (const [what, change] of Object.entries(changes)) {
    it(`is noticed by ${what}`, async () => {
      const source = await openServer();
      change();
      await assert.rejects(
        source.read(2000, 10),
        raises("SOURCE_CHANGED", /changed while it was being read/),
      );
      // The first bytes were there before.
      assert.deepEqual(await source.read(0, 10), bytes.subarray(0, 10));
    });
  }

  it("is noticed by its date or a weak ETag where there is no strong one", async () => {
    for (const etag of [undefined, 'W/"one"']) {
      Object.assign(server.file, { etag, date: DATE });
      const source = await openServer();
      assert.deepEqual(await source.read(2000, 10), bytes.subarray(2000, 2010));
      server.file.date = "Thu, 01 Jan 2026 00:00:01 GMT";
      await assert.rejects(source.read(2000, 10), raises("SOURCE_CHANGED", /another ETag or date/));
    }
    server.file.date = DATE;
    const source = await openServer();
    server.file.etag = 'W/"two"';
    await assert.rejects(source.read(2000, 10), raises("SOURCE_CHANGED"));
  });

  it("may change its date when it has a strong ETag", async () => {
    server.file.date = DATE;
    const source = await openServer();
    server.file.date = "Thu, 01 Jan 2026 00:00:01 GMT";
    assert.deepEqual(await source.read(2000, 10), bytes.subarray(2000, 2010));
  });

  it("is read where the server tells no versions apart", async () => {
    server.file.etag = undefined;
    const source = await openServer();
    assert.deepEqual(await source.read(2000, 10), bytes.subarray(2000, 2010));
  });

  it("is noticed in the middle of a read", async () => {
    const source = await openServer();
    server.script.push(drop(5), (exchange) => {
      exchange.file.etag = '"two"';
      part()(exchange);
    });
    await assert.rejects(source.read(2000, 10), raises("SOURCE_CHANGED"));
    server.reset();
    server.script.push(drop(5), (exchange) => {
      exchange.file.etag = '"two"';
      part()(exchange);
    });
    await assert.rejects(openServer(), raises("SOURCE_CHANGED"));
  });
});

describe("an answer with another status", () => {
  for (const [code, expected] of [
    [400, raises("IO", /status 400$/)],
    [401, raises("IO", /status 401: access is refused/)],
    [403, raises("IO", /status 403: access is refused/)],
    [404, raises("NOT_FOUND", /status 404: no such file/)],
    [410, raises("NOT_FOUND", /status 410/)],
    [204, raises("IO", /status 204/)],
    [304, raises("IO", /status 304/)],
    [300, raises("IO", /status 300/)],
  ] as const) {
    it(`is an error: ${code}`, async () => {
      server.script.push(status(code));
      await assert.rejects(openUrl(`${server.url}?token=secret`, quick), (error: Error) => {
        assert.doesNotMatch(String(error.stack), /secret/);
        return expected(error);
      });
      const source = await openServer();
      server.script.push(status(code));
      await assert.rejects(source.read(1000, 1), expected);
      assert.equal(server.requests.length, 3);
    });
  }
});

describe("an AbortSignal", () => {
  it("ends a read at once, and disturbs no other", async () => {
    const source = await openServer();
    const controller = new AbortController();
    const { signal } = controller;
    server.script.push(stall(500));
    const stalled = source.read(1000, 1000, { signal });
    await until(() => server.requests.length === 2);
    const other = source.read(1000, 2000);
    setTimeout(() => controller.abort(new Error("enough")), 20);
    const start = performance.now();
    await assert.rejects(stalled, /^Error: enough$/);
    assert.ok(performance.now() - start < 1000);
    assert.deepEqual(await other, bytes.subarray(1000));
    assert.deepEqual(await source.read(1000, 1000), bytes.subarray(1000, 2000));
    assert.equal(getEventListeners(signal, "abort").length, 0);
    // The server is told.
    await closed(server.requests[1]!.socket);
    await assert.rejects(source.read(1000, 10, { signal }), /enough/);
    await assert.rejects(source.read(0, 10, { signal }), /enough/);
  });

  it("ends the opening, also while it waits for a head or for another try", async () => {
    const before = AbortSignal.abort(new Error("before"));
    await assert.rejects(openServer({ signal: before }), /before/);
    assert.equal(server.requests.length, 0);
    for (const answer of [stall(-1), stall(10), status(503)]) {
      const controller = new AbortController();
      server.script.push(answer);
      const opening = openServer({ signal: controller.signal, retry: { firstWait: 1e6 } });
      setTimeout(() => controller.abort(new Error("enough")), 20);
      await assert.rejects(opening, /enough/);
      assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    }
  });

  it("of the opening has no power over reads", async () => {
    const controller = new AbortController();
    const source = await openServer({ signal: controller.signal });
    controller.abort();
    assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.destroyed) await new Promise((resolve) => socket.once("close", resolve));
}
