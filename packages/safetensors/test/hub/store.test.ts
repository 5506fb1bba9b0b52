import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { hubStore } from "../../src/hub/open.ts";
import type { HubOptions } from "../../src/hub/options.ts";
import { noise, raises } from "../support.ts";
import { FIRST, json, PlayedHub, type PlayedRepository, refuse, SECOND } from "./hub-server.ts";

const shards = [noise(3000, 1), noise(3000, 2)];
const [ONE, TWO] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;

const hub = await PlayedHub.start();
let repository: PlayedRepository;
beforeEach(() => {
  repository = hub.reset({
    "README.md": noise(10),
    [ONE]: shards[0]!,
    [TWO]: shards[1]!,
    "original/consolidated.pth": noise(200, 3),
    "original/deep/er.bin": noise(200, 4),
  });
});

const quick = (options: HubOptions = {}): HubOptions => ({
  endpoint: hub.origin,
  retry: { firstWait: 1, longestWait: 50 },
  firstRead: 1000,
  ...options,
});

describe("hubStore", () => {
  it("learns commit and files by one request, and opens files by one each", async () => {
    const store = await hubStore("hf://org/model", quick());
    assert.equal(store.name, `hf://org/model@${FIRST}`);
    assert.deepEqual(await store.list!(), ["README.md", ONE, TWO]);
    const source = await store.open(TWO);
    assert.deepEqual(await source.read(0, 1000), shards[1]!.subarray(0, 1000));
    assert.deepEqual(hub.lines, [
      "hub /api/models/org/model/revision/main",
      `hub /org/model/resolve/${FIRST}/${TWO} 0-999`,
      `files /${FIRST}/${TWO} 0-999`,
    ]);
  });

  it("asks for lists whole, and for files as they are", async () => {
    const asked: (string | null)[][] = [];
    const spy = (async (url: string, init: RequestInit) => {
      const headers = new Headers(init.headers);
      asked.push([headers.get("range"), headers.get("accept-encoding")]);
      return fetch(url, init);
    }) as unknown as typeof fetch;
    const traffic = { requests: 0, bytes: 0 };
    await (await hubStore("hf://org/model", quick({ fetch: spy, traffic }))).open("README.md");
    assert.deepEqual(traffic, { requests: 3, bytes: 10 });
    assert.deepEqual(asked, [
      [null, null],
      ["bytes=0-999", "identity"],
      ["bytes=0-999", "identity"],
    ]);
  });

  it("reads all files from the commit that it began with", async () => {
    const store = await hubStore("hf://org/model@main", quick());
    repository.commits.set(SECOND, new Map([[ONE, noise(5000, 9)]]));
    repository.revisions.set("main", SECOND);
    const source = await store.open(ONE);
    hub.signature++;
    assert.deepEqual(await source.read(0, 3000), shards[0]);
    assert.deepEqual(await (await store.open(TWO)).read(0, 3000), shards[1]);
    assert.deepEqual(await store.list!(), ["README.md", ONE, TWO]);
  });

  it("opens a folder", async () => {
    const store = await hubStore("hf://org/model/original", quick());
    assert.equal(store.name, `hf://org/model@${FIRST}/original`);
    assert.deepEqual(await store.list!(), ["consolidated.pth"]);
    assert.equal((await store.open("consolidated.pth")).size, 200);
    assert.equal(hub.lines[1], `hub /org/model/resolve/${FIRST}/original/consolidated.pth 0-999`);
    for (const folder of ["origin", "nothing", ONE]) {
      await assert.rejects(hubStore(`hf://org/model/${folder}`, quick()), raises("NOT_FOUND", /no folder/));
    }
  });

  it("finds datasets, references and commits, and repositories that have moved", async () => {
    hub.add("/datasets/org/data", { x: noise(10) }).revisions.set("refs/pr/2", FIRST);
    hub.renamed.set("/gpt2", "/org/model");
    hub.renamed.set("/datasets/old/data", "/org/data");
    for (const address of ["hf://datasets/org/data@refs/pr/2", `hf://datasets/old/data@${FIRST}`]) {
      assert.deepEqual(await (await hubStore(address, quick())).list!(), ["x"]);
    }
    assert.deepEqual(await (await hubStore("hf://gpt2", quick())).list!(), ["README.md", ONE, TWO]);
    assert.deepEqual(hub.lines, [
      "hub /api/datasets/org/data/revision/refs%2Fpr%2F2",
      `hub /api/datasets/old/data/revision/${FIRST}`,
      `hub /api/datasets/org/data/revision/${FIRST}`,
      "hub /api/models/gpt2/revision/main",
      "hub /api/models/org/model/revision/main",
    ]);
  });

  it("asks for nothing that is not in the list", async () => {
    const store = await hubStore("hf://org/model", quick());
    await assert.rejects(store.open("model.safetensors"), raises("NOT_FOUND", /no file "model.safetensors"/));
    for (const name of ["../x", "a/b", "..", "", "a\nb"]) {
      await assert.rejects(store.open(name), raises("UNSAFE_FILE_NAME"));
    }
    assert.equal(hub.lines.length, 1);
  });

  it("asks page by page for lists that are too long to be trusted, without following links elsewhere", async () => {
    for (let i = 0; i < 1000; i++) repository.commits.get(FIRST)!.set(`original/part-${i}`, noise(10));
    hub.pageLength = 400;
    const store = await hubStore("hf://org/model/original", quick({ token: hub.token }));
    const names = await store.list!();
    assert.equal(names.length, 1001);
    assert.ok(names.includes("consolidated.pth") && names.includes("part-999") && !names.includes("deep"));
    const tree = `hub /api/models/org/model/tree/${FIRST}/original`;
    assert.deepEqual(hub.lines.slice(1), [tree, `${tree}?cursor=400`, `${tree}?cursor=800`]);
    assert.ok(hub.secrets("hub").every((secret) => secret === `Bearer ${hub.token}`));
    // What the list would say is now for the Hub to say.
    assert.equal((await store.open("part-5")).size, 10);
    await assert.rejects(
      store.open("nothing"),
      raises("NOT_FOUND", /no "original\/nothing" in revision "main"/),
    );
    const missing = await hubStore("hf://org/model/nothing", quick());
    await assert.rejects(missing.list!(), raises("NOT_FOUND", /no "nothing" in revision/));
  });

  it("asks for the list where the Hub gives none", async () => {
    for (const siblings of [undefined, null, []]) {
      hub.script.push(json({ sha: FIRST, siblings }));
      const store = await hubStore("hf://org/model", quick());
      assert.deepEqual(await store.list!(), ["README.md", ONE, TWO]);
    }
  });

  it("does not follow pages for ever", async () => {
    hub.script.push(json({ sha: FIRST }));
    const store = await hubStore("hf://org/model", quick());
    const again = json([], { link: '<?cursor=x>; rel="next"' });
    hub.script.push(...Array.from({ length: 100 }, () => again));
    await assert.rejects(
      store.list!(),
      raises("LIMIT_EXCEEDED", /more than 100 pages/, { limit: "MAX_LIST_PAGES" }),
    );
    hub.script.push(json([], { link: '<https://evil.example/>; rel="next"' }));
    await assert.rejects(store.list!(), raises("IO", /next page without a cursor/));
  });
});

describe("an answer of the Hub that is not what it should be", () => {
  it("is an error", async () => {
    for (const [answer, message] of [
      [json("<html>"), /not JSON/],
      [json(""), /not JSON/],
      [json("[".repeat(100_000)), /not JSON/],
      [json("null"), /names no commit/],
      [json("[]"), /names no commit/],
      [json({ sha: null, siblings: [] }), /names no commit/],
      [json({ sha: "main" }), /names no commit/],
      [json({ sha: "../../evil" }), /names no commit/],
      [json({ sha: [FIRST] }), /names no commit/],
      [json('{"__proto__":{"sha":"x"}}'), /names no commit/],
      [json({ sha: FIRST, siblings: {} }), /no list of files/],
      [json({ sha: FIRST, siblings: "a" }), /no list of files/],
      [json({ sha: FIRST, siblings: [null] }), /no file/],
      [json({ sha: FIRST, siblings: ["a"] }), /no file/],
      [json({ sha: FIRST, siblings: [{ rfilename: 1 }] }), /no file/],
      [refuse(206, { "content-range": "bytes 0-5/100" }), /status 206/],
    ] as const) {
      hub.script.push(answer);
      await assert.rejects(hubStore("hf://org/model", quick()), raises("IO", message));
    }
    for (const [answer, message] of [
      [json({}), /no list of files/],
      [json([null]), /no file/],
      [json([{ type: "file" }]), /no file/],
      [json([{ path: "a" }]), /no file/],
    ] as const) {
      hub.script.push(json({ sha: FIRST }));
      const store = await hubStore("hf://org/model", quick());
      hub.script.push(answer);
      await assert.rejects(store.list!(), raises("IO", message));
    }
  });

  it("brings no names that steer paths or terminals", async () => {
    const names = [
      "..",
      ".",
      "",
      "a\\b",
      "c:d",
      "a\nb",
      "a\u202eb",
      "\ud800",
      "/x",
      "x/",
      "a/b",
      "../c",
      "__proto__",
      "good",
    ];
    hub.script.push(json({ sha: FIRST, siblings: names.map((rfilename) => ({ rfilename })) }));
    const store = await hubStore("hf://org/model", quick());
    assert.deepEqual(await store.list!(), ["__proto__", "good"]);
    hub.script.push(json({ sha: FIRST }), json(names.map((path) => ({ type: "file", path }))));
    assert.deepEqual(await (await hubStore("hf://org/model", quick())).list!(), ["__proto__", "good"]);
  });

  it("is not read for ever", async () => {
    let sent = 0;
    hub.script.push((response) => {
      const piece = Buffer.alloc(1 << 20, " ");
      const more = (error?: Error | null): void => {
        sent += piece.length;
        if (!error && !response.destroyed) response.write(piece, more);
      };
      more();
    });
    await assert.rejects(
      hubStore("hf://org/model", quick()),
      raises("LIMIT_EXCEEDED", /33554432 bytes/, { limit: "MAX_HUB_ANSWER_BYTES" }),
    );
    assert.ok(sent < 64 << 20, `${sent} bytes sent`);
  });

  it("is asked for again when it breaks off or stalls", async () => {
    hub.script.push(
      (response) => response.writeHead(200).write("{", () => response.destroy()),
      (response) => response.destroy(),
      (response) => response.writeHead(200).write("{"),
      refuse(503),
    );
    const store = await hubStore("hf://org/model", quick({ patience: 200 }));
    assert.equal((await store.list!()).length, 3);
    assert.equal(hub.lines.length, 5);
  });

  it("is not waited for when the caller gives up", async () => {
    hub.script.push(() => {});
    const signal = AbortSignal.timeout(30);
    await assert.rejects(hubStore("hf://org/model", quick({ signal })), { name: "TimeoutError" });
  });
});
