import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { openUrl, type UrlOptions } from "../../src/source/http.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { noise, raises } from "../support.ts";
import { type Answer, drop, FileServer, part, stall, status, whole } from "./http-server.ts";

const bytes = noise(3000);
const quick: UrlOptions = { firstRead: 1000, retry: { firstWait: 1 } };

const server = await FileServer.start(bytes);
beforeEach(() => server.reset(bytes));

const openServer = (options: UrlOptions = {}): Promise<ByteSource> =>
  openUrl(server.url, { ...quick, ...options });

describe("a request that fails in passing", () => {
  for (const code of [408, 429, 500, 502, 503, 504]) {
    it(`is tried again after status ${code}`, async () => {
      server.script.push(status(code), status(code));
      const source = await openServer();
      server.script.push(status(code), status(code));
      assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
      assert.equal(server.requests.length, 6);
    });
  }

  it("is tried as often as allowed", async () => {
    server.usual = status(503);
    await assert.rejects(openServer(), raises("IO", /status 503 \(5 tries\)$/));
    assert.equal(server.requests.length, 5);
    await assert.rejects(openServer({ retry: { tries: 1 } }), raises("IO", /status 503$/));
    assert.equal(server.requests.length, 6);
  });

  it("waits as long as the server asks, but not for ever", async () => {
    server.script.push(status(429, { "retry-after": "3600" }));
    const start = performance.now();
    await openServer({ retry: { firstWait: 1, longestWait: 50 } });
    const time = performance.now() - start;
    assert.ok(time > 30 && time < 5000, `${time}`);
  });

  it("goes on where the connection was dropped", async () => {
    const source = await openServer();
    server.script.push(drop(-1), drop(0), drop(300), drop(1), drop(600));
    assert.deepEqual(await source.read(1000, 2000), bytes.subarray(1000));
    const ranges = ["1000-2999", "1000-2999", "1000-2999", "1300-2999", "1301-2999", "1901-2999"];
    assert.deepEqual(server.ranges.slice(1), ranges);
  });

  it("goes on where the first request was dropped", async () => {
    server.script.push(drop(400), drop(0), drop(100));
    const source = await openServer();
    assert.deepEqual(server.ranges, ["0-999", "400-999", "400-999", "500-999"]);
    assert.deepEqual(await source.read(0, 1000), bytes.subarray(0, 1000));
    assert.equal(source.size, 3000);
  });

  it("is tried as long as there is progress", async () => {
    const source = await openServer({ retry: { tries: 2, firstWait: 0 } });
    server.usual = drop(1);
    server.script.push(...Array<Answer>(30).fill(drop(3)));
    assert.deepEqual(await source.read(1000, 50), bytes.subarray(1000, 1050));
    server.usual = drop(0);
    await assert.rejects(source.read(1000, 50), raises("IO", /broke off.* \(2 tries\)$/));
  });

  it("goes on behind a body that ended early", async () => {
    const short: Answer = (exchange) => {
      const body = exchange.file.bytes.subarray(exchange.start, exchange.end - 7);
      part({ body, headers: { "content-length": undefined, "transfer-encoding": "chunked" } })(exchange);
    };
    const source = await openServer();
    server.script.push(short);
    assert.deepEqual(await source.read(1000, 100), bytes.subarray(1000, 1100));
    assert.deepEqual(server.ranges.slice(1), ["1000-1099", "1093-1099"]);
    server.usual = short;
    await assert.rejects(source.read(2000, 7), raises("IO", /ended 7 bytes early \(5 tries\)/));
  });

  it("begins anew on a server that does not serve ranges", async () => {
    const broken: Answer = ({ response, file }) => {
      response.writeHead(200, { "content-length": file.bytes.length, etag: '"one"' });
      response.write(file.bytes.subarray(0, 500), () => response.socket?.destroy());
    };
    server.usual = whole();
    server.script.push(broken, broken);
    const source = await openServer({ firstRead: 5000 });
    assert.deepEqual(await source.read(0, 3000), bytes);
    server.usual = broken;
    await assert.rejects(openServer({ firstRead: 5000 }), raises("IO", /broke off.* \(5 tries\)/));
  });

  it("has all it needs when the connection breaks behind the last byte", async () => {
    const source = await openServer();
    server.script.push(({ response, file, start, end }) => {
      response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/3000`, etag: '"one"' });
      response.write(file.bytes.subarray(start, end), () => response.socket?.destroy());
    });
    assert.deepEqual(await source.read(1000, 100), bytes.subarray(1000, 1100));
    assert.equal(server.requests.length, 2);
  });
});

describe("a server that stalls", () => {
  it("counts as a dropped connection", async () => {
    const source = await openServer({ patience: 200 });
    server.script.push(stall(-1), stall(0), stall(50));
    assert.deepEqual(await source.read(1000, 100), bytes.subarray(1000, 1100));
    assert.deepEqual(server.ranges.slice(1), ["1000-1099", "1000-1099", "1000-1099", "1050-1099"]);
    server.usual = stall(-1);
    const failing = openServer({ patience: 20, retry: { tries: 2, firstWait: 1 } });
    await assert.rejects(failing, raises("IO", /sent nothing for 20 ms \(2 tries\)/));
  });

  it("may be slow", async () => {
    const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
    const slow: Answer = async ({ response, file, start, end }) => {
      await wait(250);
      response
        .writeHead(206, { "content-range": `bytes ${start}-${end - 1}/3000`, etag: '"one"' })
        .flushHeaders();
      for (let at = start; at < end; at += 40) {
        await wait(250);
        response.write(file.bytes.subarray(at, Math.min(at + 40, end)));
      }
      response.end();
    };
    const source = await openServer({ patience: 400 });
    server.script.push(slow);
    assert.deepEqual(await source.read(1000, 100), bytes.subarray(1000, 1100));
    assert.equal(server.requests.length, 2);
  });

  it("is waited for without end where that is wanted", async () => {
    const source = await openServer({ patience: Infinity });
    assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
    assert.equal(server.requests.length, 2);
  });
});

describe("a server that cannot be reached", () => {
  it("is an error, after all tries", async () => {
    const other = await FileServer.start(bytes);
    const { url } = other;
    await other.stop();
    await assert.rejects(openUrl(`${url}?token=secret`, quick), (error: Error) => {
      assert.doesNotMatch(String(error.stack) + String(error.cause), /secret/);
      return raises("IO", /model\.safetensors cannot be reached: .*refused.* \(5 tries\)/i)(error);
    });
  });

  it("is described without the query that some runtimes put into their errors", async () => {
    const failing = async (url: unknown): Promise<Response> => {
      throw new TypeError(`error sending request for url (${url}): connection reset`);
    };
    await assert.rejects(
      openUrl("https://a.example/b?token=secret", { ...quick, fetch: failing }),
      (error: Error) => {
        assert.doesNotMatch(String(error.stack) + String(error.cause), /secret/);
        return raises("IO", /cannot be reached: .* connection reset/)(error);
      },
    );
  });
});
