import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { openHub } from "../../src/hub/open.ts";
import type { HubOptions } from "../../src/hub/options.ts";
import { handMade, noise, raises } from "../support.ts";
import { FIRST, PlayedHub, type PlayedRepository, refuse, SECOND } from "./hub-server.ts";

const data = noise(400_000);
const model = handMade({
  first: { dtype: "F32", shape: [50_000], data: data.subarray(0, 200_000) },
  second: { dtype: "U8", shape: [200_000], data: data.subarray(200_000) },
});
const other = handMade({ first: { dtype: "U8", shape: [300_000], data: noise(300_000, 2) } });
const FILE = "model.safetensors";
const ADDRESS = `hf://org/model/${FILE}`;

const hub = await PlayedHub.start();
let repository: PlayedRepository;
beforeEach(() => {
  repository = hub.reset({ [FILE]: model, "config.json": new Uint8Array([123, 125]) });
});

const quick = (options: HubOptions = {}): HubOptions => ({
  endpoint: hub.origin,
  retry: { firstWait: 1, longestWait: 50 },
  ...options,
});

/** Moves the branch to a commit with another file. */
function moveBranch(): void {
  repository.commits.set(SECOND, new Map([[FILE, other]]));
  repository.revisions.set("main", SECOND);
}

describe("openHub", () => {
  it("takes one read for the header and one for a tensor: three requests on the wire", async () => {
    const checkpoint = await open(await openHub(ADDRESS, quick()));
    assert.deepEqual([...checkpoint.keys()], ["first", "second"]);
    const second = await checkpoint.get("second").data();
    assert.deepEqual(second, new Uint8Array(data.subarray(200_000)));
    const start = model.length - 200_000;
    assert.deepEqual(hub.lines, [
      `hub /org/model/resolve/main/${FILE} 0-131071`,
      `files /${FIRST}/${FILE} 0-131071`,
      `files /${FIRST}/${FILE} ${start}-${model.length - 1}`,
    ]);
  });

  it("reads a small file from the Hub itself", async () => {
    const source = await openHub("hf://org/model@main/config.json", quick());
    assert.deepEqual(await source.read(0, 2), new Uint8Array([123, 125]));
    assert.deepEqual(hub.lines, [
      "hub /org/model/resolve/main/config.json 0-131071",
      "hub /api/resolve-cache/org/model/resolve/main/config.json 0-131071",
    ]);
  });

  it("finds datasets, spaces, folders, names that need escapes, and revisions with slashes", async () => {
    const name = "a b#?%2F+é.bin";
    hub.add("/datasets/org/data", { [`folder/${name}`]: model }).revisions.set("refs/pr/1", FIRST);
    hub.add("/spaces/org/space", { x: model });
    for (const revision of ["refs/pr/1", "refs%2Fpr%2F1"]) {
      const source = await openHub(`hf://datasets/org/data@${revision}/folder/${name}`, quick());
      assert.equal(source.size, model.length);
    }
    await openHub("hf://spaces/org/space/x", quick());
    assert.equal(
      hub.lines[0],
      "hub /datasets/org/data/resolve/refs%2Fpr%2F1/folder/a%20b%23%3F%252F%2B%C3%A9.bin 0-131071",
    );
    assert.equal(hub.lines[4], "hub /spaces/org/space/resolve/main/x 0-131071");
  });

  it("follows a repository that has moved", async () => {
    hub.renamed.set("/old/name", "/org/model");
    hub.renamed.set("/gpt2", "/org/model");
    const source = await openHub(`hf://old/name@main/${FILE}`, quick({ token: hub.token }));
    assert.equal(source.size, model.length);
    assert.deepEqual(hub.lines, [
      `hub /old/name/resolve/main/${FILE} 0-131071`,
      `hub /org/model/resolve/main/${FILE} 0-131071`,
      `files /${FIRST}/${FILE} 0-131071`,
    ]);
    assert.equal((await openHub(`hf://gpt2@main/${FILE}`, quick())).size, model.length);
  });

  it("asks anew when a signed address has expired, for the commit that it began with", async () => {
    const source = await openHub(ADDRESS, quick());
    moveBranch();
    hub.signature++;
    assert.deepEqual(await source.read(300_000, 50), model.subarray(300_000, 300_050));
    assert.deepEqual(hub.lines.slice(2), [
      `files /${FIRST}/${FILE} 300000-300049`,
      `hub /org/model/resolve/${FIRST}/${FILE} 300000-300049`,
      `files /${FIRST}/${FILE} 300000-300049`,
    ]);
  });

  it("notices by the ETag when the Hub names no commit and the branch moves", async () => {
    const strip: typeof fetch = async (url, init) => {
      const response = await fetch(url, init);
      const headers = new Headers(response.headers);
      headers.delete("x-repo-commit");
      return new Response(response.body, { status: response.status, headers });
    };
    const source = await openHub(ADDRESS, quick({ fetch: strip }));
    moveBranch();
    hub.signature++;
    await assert.rejects(source.read(200_000, 50), raises("SOURCE_CHANGED"));
  });

  it("takes no commit that is none, and none from another server", async () => {
    for (const commit of ["../../evil", "main", "1".repeat(39), "A".repeat(40)]) {
      const lie: typeof fetch = async (url, init) => {
        const response = await fetch(url, init);
        const headers = new Headers(response.headers);
        if (String(url).startsWith(hub.origin)) headers.set("x-repo-commit", commit);
        else headers.set("x-repo-commit", SECOND);
        return new Response(response.body, { status: response.status, headers });
      };
      hub.seen.length = 0;
      const source = await openHub(ADDRESS, quick({ fetch: lie }));
      hub.signature++;
      await source.read(200_000, 50);
      assert.equal(
        hub.lines.filter((line) => line.startsWith("hub /org/model/resolve/main/")).length,
        2,
        commit,
      );
    }
  });

  it("refuses an address without a file, and an endpoint that is none", async () => {
    await assert.rejects(openHub("hf://org/model", quick()), raises("IO", /no file in it.*use hubStore/));
    await assert.rejects(
      openHub("hf://gpt2/model.safetensors", quick()),
      raises("IO", /hf:\/\/name@main\/file/),
    );
    for (const endpoint of [
      "",
      "hub",
      "ftp://h",
      "https://me:secret@h",
      "https://h/?secret",
      "https://h/#secret",
    ]) {
      await assert.rejects(openHub(ADDRESS, { endpoint }), (error: Error) => {
        assert.doesNotMatch(String(error.stack), /secret/);
        return raises("IO", /endpoint/)(error);
      });
    }
    assert.deepEqual(hub.lines, []);
  });

  it("asks a mirror behind a path", async () => {
    const asked: string[] = [];
    const spy = (async (url: string) => {
      asked.push(url);
      return new Response(null, { status: 404 });
    }) as unknown as typeof fetch;
    await assert.rejects(
      openHub(ADDRESS, { endpoint: "https://mirror.example/hf/", fetch: spy }),
      raises("NOT_FOUND"),
    );
    await assert.rejects(openHub(ADDRESS, { fetch: spy }), raises("NOT_FOUND"));
    assert.deepEqual(asked, [
      `https://mirror.example/hf/org/model/resolve/main/${FILE}`,
      `https://huggingface.co/org/model/resolve/main/${FILE}`,
    ]);
  });

  it("ends with its signal", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(openHub(ADDRESS, quick({ signal })), /enough/);
  });
});

describe("the token", () => {
  it("goes to the Hub, and to no server that it redirects to", async () => {
    repository.access = "private";
    const source = await openHub(ADDRESS, quick({ token: hub.token }));
    hub.signature++;
    await source.read(200_000, 50);
    assert.deepEqual(hub.secrets("hub"), [`Bearer ${hub.token}`, `Bearer ${hub.token}`]);
    assert.deepEqual(hub.secrets("files"), [undefined, undefined, undefined]);
    assert.doesNotMatch(source.name!, /secret/i);
  });

  it("is not sent where there is none", async () => {
    for (const token of [undefined, "", " \n", () => undefined]) {
      await openHub(ADDRESS, quick({ token }));
    }
    assert.ok([...hub.secrets("hub"), ...hub.secrets("files")].every((secret) => secret === undefined));
  });

  it("may come from a function, which is asked before each request to the Hub", async () => {
    let count = 0;
    const source = await openHub(ADDRESS, quick({ token: async () => `hf_${++count}` }));
    await source.read(200_000, 50);
    hub.signature++;
    await source.read(200_000, 50);
    assert.deepEqual(hub.secrets("hub"), ["Bearer hf_1", "Bearer hf_2"]);
    assert.deepEqual(hub.secrets("files"), [undefined, undefined, undefined, undefined]);
    const broken = (): string => {
      throw new Error("no keys");
    };
    await assert.rejects(
      openHub(ADDRESS, quick({ token: broken })),
      raises("IO", /function that gives the token/),
    );
    assert.equal(hub.secrets("hub").length, 2);
  });

  it("is in no message", async () => {
    const silent = async (open: Promise<unknown>): Promise<void> => {
      await assert.rejects(open, (error: Error) => {
        assert.doesNotMatch(`${error.stack} ${error.cause}`, /secret/i);
        return raises("IO")(error);
      });
    };
    for (const token of ["hf_sec\nret", "hf secret", "hf_secrét"])
      await silent(openHub(ADDRESS, quick({ token })));
    // A server that repeats it.
    const echo = { "x-error-message": `no access with ${hub.token}` };
    hub.script.push(refuse(403, echo));
    await silent(openHub(ADDRESS, quick({ token: hub.token })));
  });
});

describe("openHub in a browser, which hides redirects", () => {
  const browser = (async (url: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(url, init);
    if (init.redirect !== "manual" || response.status < 300 || response.status > 399) return response;
    await response.body?.cancel();
    const hidden = { type: "opaqueredirect", status: 0, headers: new Headers(), body: null, url };
    return hidden as unknown as Response;
  }) as typeof fetch;

  it("reads, asks anew, and keeps the token from other servers", async () => {
    repository.access = "private";
    const source = await openHub(ADDRESS, quick({ fetch: browser, token: hub.token }));
    hub.signature++;
    assert.deepEqual(await source.read(300_000, 50), model.subarray(300_000, 300_050));
    assert.ok(hub.secrets("hub").every((secret) => secret === `Bearer ${hub.token}`));
    assert.deepEqual(hub.secrets("files"), [undefined, undefined, undefined]);
  });

  it("says what the Hub refuses", async () => {
    await assert.rejects(
      openHub("hf://org/model/x", quick({ fetch: browser })),
      raises("NOT_FOUND", /has no "x"/),
    );
  });
});
