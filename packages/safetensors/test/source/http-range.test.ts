import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  readFirstAnswer,
  readRangeAnswer,
  readRefusedTotal,
  retryAfter,
  versionOf,
} from "../../src/source/http-range.ts";
import { raises } from "../support.ts";

const range = (text: string, more: Record<string, string> = {}): Headers =>
  new Headers({ "content-range": text, ...more });

describe("readRangeAnswer", () => {
  const read = (headers: Headers, start = 10, end = 20) => readRangeAnswer(headers, "file", start, end);

  it("takes the range that was asked for, as far as the file goes", () => {
    assert.deepEqual(read(range("bytes 10-19/100")), { end: 20, total: 100, version: undefined });
    assert.deepEqual(read(range("bytes 10-14/15", { etag: '"v"', "content-length": "5" })), {
      end: 15,
      total: 15,
      version: '"v"',
    });
    assert.equal(read(range("Bytes 10-19/100", { "content-encoding": "identity" })).total, 100);
  });

  it("refuses every other range", () => {
    for (const text of [
      "9-19/100",
      "11-19/100",
      "10-18/100",
      "10-20/100",
      "10-19/15",
      "10-19/19",
      "0-9/100",
      "19-10/100",
    ]) {
      assert.throws(
        () => read(range(`bytes ${text}`)),
        raises("IO", /asked for bytes 10 to .* answered with/, { at: 10 }),
        text,
      );
    }
    assert.throws(() => read(range("bytes 0-0/0"), 0, 10), raises("IO", /answered with 0 to 1/));
  });

  it("refuses what does not say which range it is", () => {
    for (const text of [
      "bytes 10-19/*",
      "bytes */100",
      "10-19/100",
      "bytes 10-/100",
      "bytes -10-19/100",
      "bytes 10-19/1e2",
      "bytes 10-19/9007199254740993",
      "bytes 10-19/100, bytes 30-39/100",
      "",
    ]) {
      assert.throws(() => read(range(text)), raises("IO", /with the range ".*when asked for byte 10/), text);
    }
    assert.throws(() => read(new Headers()), raises("IO", /without Content-Range \(a browser hides it/));
  });

  it("refuses a length that does not fit, and compressed parts", () => {
    for (const length of ["9", "11", "0", "-10", "1e1", "ten", ""]) {
      assert.throws(
        () => read(range("bytes 10-19/100", { "content-length": length })),
        raises("IO", /announces/),
      );
    }
    assert.throws(
      () => read(range("bytes 10-19/100", { "content-encoding": "gzip" })),
      raises("IO", /parts of the file compressed/),
    );
  });

  it("shows what a server wrote without its control characters", () => {
    assert.throws(() => read(range("bytes \u009b31m")), raises("IO", /"bytes \\u009b31m"/));
  });
});

describe("readFirstAnswer", () => {
  const read = (status: number, headers: Record<string, string>) =>
    readFirstAnswer({ status, headers: new Headers(headers) } as Response, "file", 50);

  it("takes a part, a whole file, and the refusal of an empty one", () => {
    assert.deepEqual(read(206, { "content-range": "bytes 0-49/100" }), {
      end: 50,
      total: 100,
      version: undefined,
    });
    assert.deepEqual(read(206, { "content-range": "bytes 0-29/30" }).end, 30);
    assert.deepEqual(read(200, { "content-length": "100", etag: '"v"' }), {
      end: 50,
      total: 100,
      version: '"v"',
    });
    assert.deepEqual(read(200, { "content-length": "0" }), { end: 0, total: 0, version: undefined });
    assert.deepEqual(read(416, { "content-range": "bytes */0" }), { end: 0, total: 0, version: undefined });
  });

  it("refuses a whole file of unknown length", () => {
    for (const headers of [{}, { "content-length": "" }, { "content-length": "x" }]) {
      assert.throws(
        () => read(200, headers),
        raises("UNSUPPORTED", /does not send parts/, { kind: "no-ranges" }),
      );
    }
    assert.throws(
      () => read(200, { "content-length": "9", "content-encoding": "gzip" }),
      raises("UNSUPPORTED"),
    );
  });

  it("does not take every refusal for an empty file", () => {
    assert.throws(() => read(416, {}), raises("IO", /status 416/));
    assert.throws(() => read(416, { "content-range": "bytes */100" }), raises("IO", /status 416/));
  });
});

describe("the headers of an answer", () => {
  it("tell the length of the file in a refusal", () => {
    assert.equal(readRefusedTotal(range("bytes */100")), 100);
    for (const text of ["bytes 0-9/100", "bytes */*", "bytes */-1", "*/100"]) {
      assert.equal(readRefusedTotal(range(text)), undefined, text);
    }
    assert.equal(readRefusedTotal(new Headers()), undefined);
  });

  it("tell the version by a strong ETag, else by a weak one and the date", () => {
    const date = "Thu, 01 Jan 2026 00:00:00 GMT";
    assert.equal(versionOf(new Headers({ etag: '"v"', "last-modified": date })), '"v"');
    assert.equal(versionOf(new Headers({ etag: 'W/"v"', "last-modified": date })), `W/"v" ${date}`);
    assert.equal(versionOf(new Headers({ etag: 'W/"v"' })), 'W/"v"');
    assert.equal(versionOf(new Headers({ "last-modified": date })), date);
    assert.equal(versionOf(new Headers()), undefined);
  });

  it("tell how long to wait, in seconds or by a date", () => {
    const now = Date.parse("Thu, 01 Jan 2026 00:00:00 GMT");
    const wait = (value: string): number => retryAfter(new Headers({ "retry-after": value }), now);
    assert.equal(wait("3"), 3000);
    assert.equal(wait("Thu, 01 Jan 2026 00:00:07 GMT"), 7000);
    assert.equal(wait("Wed, 31 Dec 2025 23:59:59 GMT"), 0);
    assert.equal(wait("9".repeat(400)), Infinity);
    for (const nonsense of ["", "soon", "-3", "1.5 s"]) assert.equal(wait(nonsense), 0, nonsense);
    assert.equal(retryAfter(new Headers(), now), 0);
  });
});
