import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import type { ErrorCode } from "../../src/errors.ts";
import { parseHubAddress } from "../../src/hub/address.ts";
import { hubStore, openHub } from "../../src/hub/open.ts";
import { endpointFromEnvironment, type HubOptions, tokenFromEnvironment } from "../../src/hub/options.ts";
import { HubRepository } from "../../src/hub/repository.ts";
import { noise, raises } from "../support.ts";
import { PlayedHub, type PlayedRepository, refuse } from "./hub-server.ts";

const hub = await PlayedHub.start();
let repository: PlayedRepository;
beforeEach(() => {
  repository = hub.reset({ "a.safetensors": noise(3000) });
});

const quick = (options: HubOptions = {}): HubOptions => ({
  endpoint: hub.origin,
  retry: { firstWait: 1, longestWait: 50 },
  firstRead: 1000,
  ...options,
});
const openFile = (options?: HubOptions): Promise<unknown> =>
  openHub("hf://org/model/a.safetensors", quick(options));
const openAll = (options?: HubOptions): Promise<unknown> => hubStore("hf://org/model", quick(options));

describe("what the Hub refuses", () => {
  it("as gated needs its terms accepted, and a token", async () => {
    repository.access = "gated";
    const message = new RegExp(
      `restricted: accept its terms at ${hub.origin}/org/model, .*HF_TOKEN.*"Access to model`,
    );
    await assert.rejects(openFile(), raises("IO", message));
    await openFile({ token: hub.token });
  });

  it("as not found may be private", async () => {
    const message =
      /there is no model org\/model, or it is private.*HF_TOKEN.*the Hub says "Invalid username/;
    repository.access = "private";
    for (const open of [openFile, openAll]) {
      await assert.rejects(open({ token: "hf_wrong" }), raises("NOT_FOUND", message));
      await open({ token: hub.token });
    }
    await assert.rejects(
      openHub("hf://datasets/no/data/file", quick()),
      raises("NOT_FOUND", /no dataset no\/data, or it is private/),
    );
  });

  it("is a revision or a file that is not there", async () => {
    const revision = /model org\/model has no revision "refs\/pr\/9"; the Hub says "Invalid rev id/;
    await assert.rejects(hubStore("hf://org/model@refs/pr/9", quick()), raises("NOT_FOUND", revision));
    await assert.rejects(openHub("hf://org/model@refs/pr/9/x", quick()), raises("NOT_FOUND", revision));
    const file = /model org\/model has no "f\/x" in revision "main"; the Hub says "Entry not found"/;
    await assert.rejects(openHub("hf://org/model/f/x", quick()), raises("NOT_FOUND", file));
    assert.equal(hub.lines.length, 3);
  });

  it("is told from the status where nothing else is said", async () => {
    for (const [status, code, message] of [
      [401, "NOT_FOUND", /there is no model org\/model, or it is private/],
      [403, "IO", /status 403\): the token may not have the right/],
      [404, "NOT_FOUND", /the Hub finds no model org\/model with "a.safetensors" in revision "main"/],
      [410, "NOT_FOUND", /finds no model/],
      [400, "IO", /refuses the model org\/model \(status 400\)/],
      [451, "IO", /status 451/],
    ] as readonly (readonly [number, ErrorCode, RegExp])[]) {
      hub.script.push(refuse(status));
      await assert.rejects(openFile(), raises(code, message));
    }
    assert.equal(hub.lines.length, 6);
    hub.script.push(refuse(404));
    await assert.rejects(openAll(), raises("NOT_FOUND", /no model org\/model with revision "main"/));
    const invalid = { "x-error-message": "Invalid credentials in Authorization header" };
    hub.script.push(refuse(401, invalid));
    await assert.rejects(openFile(), raises("IO", /does not accept the token/));
  });

  it("is quoted, and cut", async () => {
    hub.script.push(refuse(403, { "x-error-message": `\u009b31m${"x".repeat(1000)}` }));
    await assert.rejects(openFile(), (error: Error) => {
      assert.ok(error.message.length < 500, error.message);
      assert.doesNotMatch(error.message, /\u009b/);
      return raises("IO", /the Hub says "\\u009b31mxxx/)(error);
    });
  });

  it("is not what another server refuses", async () => {
    const send = (async (url: string, init: RequestInit) => {
      const response = await fetch(url, init);
      if (url.startsWith(hub.origin)) return response;
      return new Response(null, { status: 403, headers: { "x-error-code": "GatedRepo" } });
    }) as unknown as typeof fetch;
    await assert.rejects(
      openFile({ fetch: send }),
      raises("IO", /answered with status 403: access is refused/),
    );
  });
});

describe("too many requests", () => {
  it("are tried again", async () => {
    for (const open of [openFile, openAll]) {
      hub.script.push(refuse(429, { "retry-after": "1" }), refuse(429));
      await open();
    }
    // Two each that are refused; a file takes one request to the Hub, and one to the other server.
    assert.equal(hub.lines.length, 3 + 1 + 3);
  });

  it("wait until the Hub's window ends, as far as it says so", async () => {
    for (const [headers, expected] of [
      [{ ratelimit: '"resolvers";r=0;t=55' }, "55"],
      [{ ratelimit: '"resolvers";r=0;t=55', "retry-after": "7" }, "7"],
      [{ ratelimit: '"resolvers";r=3;t=55' }, null],
      [{ ratelimit: "none" }, null],
      [{}, null],
    ] as const) {
      const send = (async () => new Response(null, { status: 429, headers })) as unknown as typeof fetch;
      const repository = new HubRepository(parseHubAddress("hf://org/model"), quick({ fetch: send }));
      const response = await repository.fetchFor("x")(`${hub.origin}/x`, {});
      assert.deepEqual([response.status, response.headers.get("retry-after")], [429, expected]);
    }
  });

  it("are explained when no try is left", async () => {
    for (const open of [openFile, openAll]) {
      hub.script.push(...Array.from({ length: 5 }, () => refuse(429, { ratelimit: '"api";r=3;t=60' })));
      const message = /status 429 \(5 tries\); the Hub limits the number of requests: wait.*HF_TOKEN/;
      await assert.rejects(open(), raises("IO", message));
    }
    assert.equal(hub.lines.length, 10);
  });
});

describe("the environment", () => {
  it("has a token under two names, and the endpoint", () => {
    assert.equal(tokenFromEnvironment({}), undefined);
    assert.equal(tokenFromEnvironment({ HF_TOKEN: "" }), undefined);
    assert.equal(tokenFromEnvironment({ HF_TOKEN: " hf_a\r\n" }), "hf_a");
    assert.equal(tokenFromEnvironment({ HF_TOKEN: "hf_a", HUGGING_FACE_HUB_TOKEN: "hf_b" }), "hf_a");
    assert.equal(tokenFromEnvironment({ HF_TOKEN: "", HUGGING_FACE_HUB_TOKEN: "hf_b" }), "hf_b");
    assert.equal(endpointFromEnvironment({}), undefined);
    assert.equal(endpointFromEnvironment({ HF_ENDPOINT: "" }), undefined);
    assert.equal(
      endpointFromEnvironment({ HF_ENDPOINT: "https://mirror.example/" }),
      "https://mirror.example/",
    );
  });
});
