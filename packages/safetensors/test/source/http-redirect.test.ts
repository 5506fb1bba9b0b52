import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { openUrl, type UrlOptions } from "../../src/source/http.ts";
import { noise, raises } from "../support.ts";
import { FileServer, part, redirect, stall, status } from "./http-server.ts";

const bytes = noise(3000);
const headers = { Authorization: "Bearer secret", "X-Key": "secret" };
const quick: UrlOptions = { firstRead: 1000, retry: { firstWait: 1 }, headers };

/** The user's server, and another one: another port is another origin. */
const server = await FileServer.start(bytes);
const other = await FileServer.start(bytes);
beforeEach(() => {
  server.reset(bytes);
  other.reset(bytes);
});

const secrets = (from: FileServer): unknown[] =>
  from.requests.map((request) => [request.headers.authorization, request.headers["x-key"]]);
const BOTH = ["Bearer secret", "secret"];
const NONE = [undefined, undefined];

describe("a redirect", () => {
  for (const code of [301, 302, 303, 307, 308]) {
    it(`is followed, and remembered: ${code}`, async () => {
      server.script.push(redirect("/elsewhere?signature=1", code));
      const source = await openUrl(server.url, quick);
      assert.deepEqual(await source.read(1000, 2000), bytes.subarray(1000));
      assert.deepEqual(
        server.requests.map(({ url }) => url),
        ["/model.safetensors", "/elsewhere?signature=1", "/elsewhere?signature=1"],
      );
      assert.deepEqual(server.ranges, ["0-999", "0-999", "1000-2999"]);
      // It is the same server: it may see the headers.
      assert.deepEqual(secrets(server), [BOTH, BOTH, BOTH]);
      assert.equal(source.name, server.url);
    });
  }

  it("takes none of the user's headers to another server", async () => {
    server.usual = redirect(`${other.origin}/signed`);
    const source = await openUrl(server.url, quick);
    assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
    assert.deepEqual(secrets(server), [BOTH]);
    assert.deepEqual(secrets(other), [NONE, NONE]);
  });

  it("takes none along on the way through another server", async () => {
    server.script.push(redirect(`${other.origin}/there`));
    other.script.push(redirect("/and-further"), redirect("/still-further"));
    const source = await openUrl(server.url, quick);
    await source.read(1000, 10);
    assert.deepEqual(secrets(other), [NONE, NONE, NONE, NONE]);
  });

  it("brings no headers back from another server", async () => {
    server.script.push(redirect(`${other.origin}/there`));
    other.script.push(redirect(`${server.origin}/and-back`));
    const source = await openUrl(server.url, quick);
    await source.read(1000, 10);
    assert.deepEqual(secrets(server), [BOTH, NONE, NONE]);
    assert.deepEqual(secrets(other), [NONE]);
  });

  it("may be one of a chain, but not of an endless one", async () => {
    server.script.push(...Array.from({ length: 10 }, (_, i) => redirect(`step-${i}`)));
    assert.equal((await openUrl(server.url, quick)).size, 3000);
    assert.equal(server.requests.at(-1)!.url, "/step-9");
    server.reset();
    server.usual = redirect(server.url);
    await assert.rejects(openUrl(server.url, quick), raises("IO", /redirects more than 10 times/));
    assert.equal(server.requests.length, 11);
  });

  it("leads to nothing but http and https", async () => {
    for (const [target, message] of [
      ["file:///etc/passwd", /redirects to "file:"/],
      ["data:text/plain,secret", /redirects to "data:"/],
      ["javascript:secret", /redirects to "javascript:"/],
      ["http://me:secret@127.0.0.1/", /redirects to "http:"/],
      ["http://[secret", /redirects to no address/],
      ["http:// secret", /redirects to no address/],
    ] as const) {
      server.script.push(redirect(target));
      await assert.rejects(openUrl(server.url, quick), (error: Error) => {
        assert.doesNotMatch(error.message, /secret/);
        return raises("IO", message)(error);
      });
    }
  });

  it("never leads from https to http", async () => {
    const asked: string[] = [];
    const steps: Readonly<Record<string, string>> = {
      "https://a.example/x": "http://a.example/x",
      "http://b.example/x": "https://b.example/x",
      "https://b.example/x": "http://b.example/y",
    };
    const fake = async (url: unknown): Promise<Response> => {
      asked.push(String(url));
      return new Response(null, { status: 302, headers: { location: steps[String(url)]! } });
    };
    for (const url of ["https://a.example/x", "http://b.example/x"]) {
      await assert.rejects(
        openUrl(url, { ...quick, fetch: fake }),
        raises("IO", /redirects to "http:", which is not/),
      );
    }
    assert.deepEqual(asked, ["https://a.example/x", "http://b.example/x", "https://b.example/x"]);
  });

  it("may lead to an address that is not escaped: in UTF-8, else byte by byte", async () => {
    const inBytes = (text: string): string => Buffer.from(text).toString("latin1");
    for (const [location, expected] of [
      [inBytes("/für alle/模型?名=1"), "/f%C3%BCr%20alle/%E6%A8%A1%E5%9E%8B?%E5%90%8D=1"],
      ["/f\xfcr", "/f%C3%BCr"],
      ["/f%C3%BCr%20%FF", "/f%C3%BCr%20%FF"],
    ] as const) {
      server.reset();
      server.script.push(redirect(location));
      assert.equal((await openUrl(server.url, quick)).size, 3000);
      assert.equal(server.requests.at(-1)!.url, expected);
    }
  });

  it("may have been decoded by the runtime", async () => {
    const asked: string[] = [];
    const decoding = (async (url: string) => {
      asked.push(url);
      const headers = new Headers();
      // No `Headers` of Node takes such a value.
      Object.defineProperty(headers, "get", { value: () => "/für/模型" });
      return asked.length === 1
        ? { status: 302, headers }
        : new Response("a", { headers: { "content-length": "1" } });
    }) as typeof fetch;
    await openUrl("http://a.example/", { fetch: decoding });
    assert.deepEqual(asked, ["http://a.example/", "http://a.example/f%C3%BCr/%E6%A8%A1%E5%9E%8B"]);
  });

  it("without a target is an error", async () => {
    server.script.push(status(302));
    await assert.rejects(openUrl(server.url, quick), raises("IO", /status 302/));
  });
});

describe("a signed address that expires", () => {
  for (const code of [400, 401, 403, 404, 410]) {
    it(`is asked for anew: ${code}`, async () => {
      server.usual = redirect(`${other.origin}/old`);
      const source = await openUrl(server.url, quick);
      server.usual = redirect(`${other.origin}/new`);
      other.script.push(status(code));
      assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
      assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
      assert.deepEqual(
        other.requests.map(({ url }) => url),
        ["/old", "/old", "/new", "/new"],
      );
      assert.equal(server.requests.length, 2);
      assert.deepEqual(secrets(other), [NONE, NONE, NONE, NONE]);
    });
  }

  it("is asked for anew once, not for ever", async () => {
    server.usual = redirect(`${other.origin}/signed`);
    const source = await openUrl(server.url, quick);
    other.usual = status(403);
    await assert.rejects(source.read(1000, 10), raises("IO", /status 403/));
    assert.equal(other.requests.length, 3);
    await assert.rejects(source.read(1000, 10), raises("IO", /status 403/));
    assert.equal(other.requests.length, 4);
    await assert.rejects(openUrl(server.url, quick), raises("IO", /status 403/));
    assert.equal(other.requests.length, 5);
  });

  it("is asked for anew by the next try after a failure in passing", async () => {
    server.usual = redirect(`${other.origin}/signed`);
    const source = await openUrl(server.url, { ...quick, patience: 200 });
    for (const answer of [status(503), stall(-1)]) {
      other.script.push(answer);
      const asked = server.requests.length;
      assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
      assert.equal(server.requests.length, asked + 1);
    }
    const impatient = await openUrl(server.url, { ...quick, retry: { tries: 1 } });
    const asked = server.requests.length;
    other.usual = status(503);
    await assert.rejects(impatient.read(1000, 10), raises("IO", /status 503/));
    assert.equal(server.requests.length, asked);
  });

  it("is kept when a caller gives up", async () => {
    server.usual = redirect(`${other.origin}/signed`);
    const source = await openUrl(server.url, quick);
    other.script.push(stall(-1));
    await assert.rejects(source.read(1000, 10, { signal: AbortSignal.timeout(20) }), {
      name: "TimeoutError",
    });
    await source.read(1000, 10);
    assert.equal(server.requests.length, 1);
  });

  it("may lead many reads astray at once", async () => {
    server.usual = redirect(`${other.origin}/old`);
    const source = await openUrl(server.url, quick);
    server.usual = redirect(`${other.origin}/new`);
    other.usual = (exchange) => (exchange.request.url === "/new" ? part() : status(403))(exchange);
    const reads = Array.from({ length: 50 }, (_, i) => source.read(1000 + i, 10));
    for (const [i, found] of (await Promise.all(reads)).entries()) {
      assert.deepEqual(found, bytes.subarray(1000 + i, 1010 + i));
    }
  });

  it("must lead to the same version", async () => {
    server.usual = redirect(`${other.origin}/old`);
    const source = await openUrl(server.url, quick);
    other.script.push(status(403));
    other.file.etag = '"two"';
    await assert.rejects(source.read(1000, 10), raises("SOURCE_CHANGED"));
  });
});

describe("a redirect in a browser", () => {
  /** A browser's fetch: it hides redirects that it is not to follow (Fetch standard, opaque-redirect filtered response). */
  const browser = (async (url: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(url, init);
    if (init.redirect !== "manual" || response.status < 300 || response.status > 399) return response;
    await response.body?.cancel();
    return {
      type: "opaqueredirect",
      status: 0,
      headers: new Headers(),
      body: null,
      url,
    } as unknown as Response;
  }) as typeof fetch;

  it("is followed by the browser, and its target remembered", async () => {
    server.usual = redirect(`${other.origin}/signed`);
    const source = await openUrl(server.url, { ...quick, fetch: browser });
    assert.deepEqual(await source.read(1000, 2000), bytes.subarray(1000));
    // Nothing but Authorization is sent where the browser follows: it takes that off.
    assert.deepEqual(secrets(server), [BOTH, ["Bearer secret", undefined]]);
    assert.deepEqual(secrets(other), [NONE, NONE]);
  });

  it("is followed anew when its target has expired", async () => {
    server.usual = redirect(`${other.origin}/old`);
    const source = await openUrl(server.url, { ...quick, fetch: browser });
    server.usual = redirect(`${other.origin}/new`);
    other.script.push(status(403));
    assert.deepEqual(await source.read(1000, 10), bytes.subarray(1000, 1010));
    assert.equal(other.requests.at(-1)!.url, "/new");
    assert.deepEqual(secrets(other), [NONE, NONE, NONE]);
  });
});
