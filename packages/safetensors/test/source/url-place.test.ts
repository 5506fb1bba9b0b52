import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { usualNames } from "../../src/checkpoint/choose-files.ts";
import { open } from "../../src/checkpoint/open.ts";
import { openStore } from "../../src/checkpoint/open-store.ts";
import { urlPlace } from "../../src/source/url-place.ts";
import { dataOf, indexOf, shard } from "../checkpoint/counted-store.ts";
import { raises } from "../support.ts";
import { folder } from "./http-folder.ts";
import { FileServer, redirect, stall, status } from "./http-server.ts";

const INDEX = "model.safetensors.index.json";
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;

const server = await FileServer.start(new Uint8Array(0));
const served = {
  [`/repo/main/${INDEX}`]: indexOf({ a: SHARDS[0], b: SHARDS[0], c: SHARDS[1] }),
  [`/repo/main/${SHARDS[0]}`]: shard("a", "b"),
  [`/repo/main/${SHARDS[1]}`]: shard("c"),
};
const asked = (): string[] => server.requests.map(({ url }) => url!);

beforeEach(() => {
  server.reset();
  server.usual = folder(served);
});

describe("urlPlace", () => {
  /** What is asked for: the file of the address, then `beside`. */
  async function addresses(
    address: string,
    beside: string,
  ): Promise<[file: string | undefined, ...string[]]> {
    const urls: string[] = [];
    const fetch = async (url: string | URL | Request): Promise<Response> => {
      urls.push(String(url));
      return new Response("x", { status: 206, headers: { "content-range": "bytes 0-0/1" } });
    };
    const { store, file } = urlPlace(address, { fetch });
    if (file !== undefined) await store.open(file);
    await store.open(beside);
    return [file, ...urls];
  }

  it("finds folder and file of an address", async () => {
    for (const [address, name, file] of [
      ["https://a.org/x/y/z.json", "https://a.org/x/y/", "z.json"],
      ["https://a.org/z", "https://a.org/", "z"],
      ["https://a.org/x/", "https://a.org/x/", undefined],
      ["https://a.org", "https://a.org/", undefined],
      ["https://a.org?f=x/y", "https://a.org/", undefined],
      ["https://a.org/x/z?key=a/b#c/d", "https://a.org/x/", "z"],
      ["https://a.org/x/%C3%A9%20%23.json", "https://a.org/x/", "é #.json"],
      ["https://a.org/x/100%.json", "https://a.org/x/", "100%.json"],
      ["https://a.org/x/a%2Fb", "https://a.org/x/", "a/b"],
      ["https://a.org/x/y/../z", "https://a.org/x/", "z"],
      ["HTTP://A.org:80/z", "http://a.org/", "z"],
    ] as const) {
      for (const given of [address, new URL(address)]) {
        const place = urlPlace(given);
        assert.deepEqual([place.store.name, place.file], [name, file], address);
        assert.equal("file" in place, file !== undefined);
        assert.equal(place.store.list, undefined);
      }
    }
  });

  it("leaves the given address as it is, and gives its query to the files beside it", async () => {
    const address = "https://a.org/x%20y/%7Em%2Fn.json?X-Signature=a%2Fb+c%3D&k";
    assert.deepEqual(await addresses(address, "w"), [
      "~m/n.json",
      address,
      "https://a.org/x%20y/w?X-Signature=a%2Fb+c%3D&k",
    ]);
  });

  it("encodes what means something else in an address", async () => {
    for (const [name, path] of [
      ["a b", "a%20b"],
      ["é😀", "%C3%A9%F0%9F%98%80"],
      ["100%", "100%25"],
      ["%2e%2e", "%252e%252e"],
      ["%2F", "%252F"],
      ["a?b=c", "a%3Fb%3Dc"],
      ["a#b", "a%23b"],
      ["a&b;c", "a%26b%3Bc"],
      ["a/../../b", "a%2F..%2F..%2Fb"],
      ["...", "..."],
      ["C:x", "C%3Ax"],
    ] as const) {
      assert.deepEqual(await addresses("https://a.org/x/?q", name), [undefined, `https://a.org/x/${path}?q`]);
    }
  });

  it("refuses addresses that it cannot ask, without repeating them", () => {
    for (const address of [
      "",
      "model.safetensors",
      "file:///x",
      "ftp://a.org/x",
      "https://me:secret@a.org/x",
      "http://",
    ]) {
      assert.throws(
        () => urlPlace(address),
        (error: Error) => {
          assert.doesNotMatch(error.message, /secret/);
          return raises("IO", /no http or https address/)(error);
        },
        address,
      );
    }
  });

  it("opens files with its options", async () => {
    const { store } = urlPlace(`${server.origin}/repo/main/`, { headers: { "x-key": "1" }, firstRead: 10 });
    const source = await store.open(SHARDS[0]);
    assert.deepEqual(await source.read(0, source.size), served[`/repo/main/${SHARDS[0]}`]);
    assert.ok(server.requests.every(({ headers }) => headers["x-key"] === "1"));
    assert.equal(server.ranges[0], "0-9");
    await assert.rejects(
      store.open("missing"),
      raises("NOT_FOUND", /\/repo\/main\/missing answered with status 404/),
    );
  });

  it("heeds its signal as well as that of one opening", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    const address = `${server.origin}/repo/main/`;
    await assert.rejects(urlPlace(address, { signal }).store.open(SHARDS[0]), /enough/);
    await assert.rejects(urlPlace(address, { signal }).store.open(SHARDS[0], {}), /enough/);
    await assert.rejects(urlPlace(address).store.open(SHARDS[0], { signal }), /enough/);
    const other = new AbortController().signal;
    await assert.rejects(urlPlace(address, { signal: other }).store.open(SHARDS[0], { signal }), /enough/);
    assert.deepEqual(asked(), []);
  });
});

describe("open with an address", () => {
  it("opens the checkpoint of an index", async () => {
    for (const url of [
      `${server.origin}/repo/main/${INDEX}`,
      new URL(`${server.origin}/repo/main/${INDEX}`),
    ]) {
      server.requests.length = 0;
      const checkpoint = await open(url);
      assert.deepEqual([...checkpoint.keys()], ["a", "b", "c"]);
      assert.deepEqual(asked().sort(), Object.keys(served).sort());
      for (const { name, ...tensor } of [...checkpoint]) {
        assert.deepEqual(await checkpoint.get(name).bytes(), dataOf(name), JSON.stringify(tensor));
      }
    }
  });

  it("opens a file with one request", async () => {
    const checkpoint = await open(`${server.origin}/repo/main/${SHARDS[1]}`.replace("http", "HTTP"));
    assert.deepEqual([...checkpoint.keys()], ["c"]);
    assert.deepEqual(asked(), [`/repo/main/${SHARDS[1]}`]);
  });

  it("opens a folder by asking for usual names", async () => {
    const checkpoint = await open(`${server.origin}/repo/main/`);
    assert.deepEqual([...checkpoint.keys()], ["a", "b", "c"]);
    assert.equal(asked()[0], "/repo/main/model.safetensors");
    server.requests.length = 0;
    await assert.rejects(
      open(`${server.origin}/repo/`),
      raises("NOT_FOUND", /127\.0\.0\.1:\d+\/repo\/ holds no safetensors/),
    );
    assert.deepEqual(
      asked(),
      usualNames({}).map((name) => `/repo/${name}`),
    );
  });

  it("opens a folder of a server that refuses what it does not have", async () => {
    for (const refusal of [401, 403]) {
      server.usual = folder(served, refusal);
      assert.deepEqual([...(await open(`${server.origin}/repo/main/`)).keys()], ["a", "b", "c"]);
      await assert.rejects(open(`${server.origin}/repo/`), raises("IO", /\/repo\/.*: access is refused/));
    }
  });

  it("keeps the query, and shows it to nobody", async () => {
    const checkpoint = await open(`${server.origin}/repo/main/${INDEX}?token=secret%2F1`);
    assert.equal(checkpoint.size, 3);
    assert.deepEqual(
      asked().sort(),
      Object.keys(served)
        .sort()
        .map((path) => `${path}?token=secret%2F1`),
    );
    const { [`/repo/main/${SHARDS[1]}`]: _, ...incomplete } = served;
    server.usual = folder(incomplete);
    await assert.rejects(open(`${server.origin}/repo/main/${INDEX}?token=secret`), (error: Error) => {
      assert.doesNotMatch(`${error.message}${error.stack}`, /secret/);
      return raises("NOT_FOUND", /model-00002-of-00002\.safetensors: .*status 404/, { file: SHARDS[1] })(
        error,
      );
    });
  });

  it("asks for files with unusual names", async () => {
    const names = ["a b.safetensors", "é😀", "100%25", "x?y#z", "%2e%2e", "&=+;,@"];
    const weightMap = Object.fromEntries(names.map((name, i) => [`t${i}`, name]));
    server.usual = folder({
      "/100%/index%20%C3%A9.json": indexOf(weightMap),
      ...Object.fromEntries(names.map((name, i) => [`/100%/${encodeURIComponent(name)}`, shard(`t${i}`)])),
    });
    const checkpoint = await open(`${server.origin}/100%/index é.json`);
    assert.equal(checkpoint.size, names.length);
    for (const name of checkpoint.keys()) assert.deepEqual(await checkpoint.get(name).bytes(), dataOf(name));
  });

  it("refuses an index that leads to another place, and asks for nothing of it", async () => {
    for (const name of ["../x", "//b.org/x", "http://b.org/x", "x\\..\\y", ".."]) {
      server.requests.length = 0;
      server.usual = folder({ "/i": indexOf({ a: name }) });
      await assert.rejects(open(`${server.origin}/i`), raises("UNSAFE_FILE_NAME", /./, { file: name }));
      assert.deepEqual(asked(), ["/i"]);
    }
  });

  it("asks for the files beside the given address, wherever that redirects", async () => {
    const other = await FileServer.start(served[`/repo/main/${INDEX}`]);
    server.script.push(redirect(`${other.origin}/cdn/123`));
    const checkpoint = await open(`${server.origin}/repo/main/${INDEX}`);
    assert.equal(checkpoint.size, 3);
    assert.deepEqual(
      asked().slice(1).sort(),
      SHARDS.map((name) => `/repo/main/${name}`),
    );
  });

  it("fails with what the server says", async () => {
    server.script.push(status(403));
    await assert.rejects(open(`${server.origin}/repo/main/${INDEX}`), raises("IO", /status 403/));
    server.usual = folder({ "/i": indexOf({ a: "gone" }) });
    await assert.rejects(open(`${server.origin}/i`), raises("NOT_FOUND", /gone: .*404/, { file: "gone" }));
    await assert.rejects(open(`${server.origin}/gone`), raises("NOT_FOUND", /404/));
  });

  it("heeds a signal while files are under way", async () => {
    const controller = new AbortController();
    const answer = folder(served);
    server.usual = (exchange) => {
      if (!exchange.request.url!.includes("00002-of")) return answer(exchange);
      controller.abort(new Error("enough"));
      stall(-1)(exchange);
    };
    await assert.rejects(
      open(`${server.origin}/repo/main/${INDEX}`, { signal: controller.signal }),
      /enough/,
    );
    const signal = AbortSignal.abort(new Error("too late"));
    await assert.rejects(open(`${server.origin}/repo/main/${INDEX}`, { signal }), /too late/);
  });
});

describe("openStore with an address", () => {
  it("opens only what the names need, with headers for all files", async () => {
    const { store, file } = urlPlace(`${server.origin}/repo/main/${INDEX}`, {
      headers: { authorization: "me" },
    });
    const checkpoint = await openStore(store, { file, names: /^c$/ });
    assert.deepEqual([...checkpoint.keys()], ["c"]);
    assert.deepEqual(asked(), [`/repo/main/${INDEX}`, `/repo/main/${SHARDS[1]}`]);
    assert.ok(server.requests.every(({ headers }) => headers.authorization === "me"));
  });

  it("asks a folder for a variant", async () => {
    server.usual = folder({ "/x/model.fp16.safetensors": shard("a") });
    const { store } = urlPlace(`${server.origin}/x/`);
    assert.deepEqual([...(await openStore(store, { variant: "fp16" })).keys()], ["a"]);
    assert.ok(asked().every((path) => path === "/x/model.fp16.safetensors"));
  });
});
