import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import type { S3Credentials, S3Options } from "../../src/s3/index.ts";
import { openS3, s3Store } from "../../src/s3/index.ts";
import { noise, raises } from "../support.ts";
import { answer, KEYS, refusal, S3Server } from "./s3-server.ts";
import { expectedSignature, parseAuthorization } from "./signature.ts";

const bytes = noise(3000);
const server = await S3Server.start();
/** Another port is another server. */
const other = await S3Server.start();

const options: S3Options = {
  endpoint: server.endpoint,
  credentials: KEYS,
  firstRead: 1000,
  retry: { tries: 3, firstWait: 1 },
};

beforeEach(() => {
  server.reset();
  other.reset();
  server.objects.set("models/a/model.safetensors", bytes);
});

const open = (more: S3Options = {}) => openS3("s3://models/a/model.safetensors", { ...options, ...more });

describe("the signature of the tests", () => {
  it("is the one of AWS's example of a GET request for an object", () => {
    // From "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
    const authorization = parseAuthorization(
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    const headers = {
      host: "examplebucket.s3.amazonaws.com",
      range: "bytes=0-9",
      "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "x-amz-date": "20130524T000000Z",
    };
    const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    assert.equal(
      expectedSignature({ method: "GET", url: "/test.txt", headers }, authorization!, secret),
      authorization!.signature,
    );
  });
});

describe("an object of S3", () => {
  it("is read in parts, each of them signed", async () => {
    const source = await open();
    assert.equal(source.size, 3000);
    assert.equal(source.name, `${server.endpoint}/models/a/model.safetensors`);
    assert.deepEqual(await source.read(900, 2100), bytes.subarray(900));
    assert.deepEqual(
      server.requests.map(({ headers }) => headers.range),
      ["bytes=0-999", "bytes=1000-2999"],
    );
    for (const { headers } of server.requests) assert.match(headers.authorization!, /^AWS4-HMAC-SHA256 /);
  });

  it("is read without a signature where there are no credentials", async () => {
    server.isPublic = true;
    const source = await open({ credentials: undefined });
    assert.deepEqual(await source.read(0, 3000), bytes);
    for (const { headers } of server.requests) {
      assert.deepEqual(
        Object.keys(headers).filter((name) => name === "authorization" || name.startsWith("x-amz-")),
        [],
      );
    }
  });

  it("may have any key", async () => {
    const part = fc.oneof(
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.constantFrom("", " ", "+", "%", "%2e%2e", "a b+c", "~!'()*", "é😀", "\\", "?a=b#c", "\n"),
    );
    const key = fc
      .array(part, { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join("/"))
      .filter((text) => text !== "" && text.isWellFormed() && !/(^|\/)\.\.?($|\/)/.test(text));
    const property = fc.asyncProperty(key, async (text) => {
      server.objects.set(`models/${text}`, bytes);
      assert.equal((await openS3(`s3://models/${text}`, options)).size, 3000);
    });
    await fc.assert(property, { seed: 42, numRuns: 60 });
  });

  it("may be empty", async () => {
    server.objects.set("models/empty", new Uint8Array(0));
    assert.equal((await openS3("s3://models/empty", options)).size, 0);
    server.script.push(refusal(416, "InvalidRange"));
    assert.equal((await openS3("s3://models/empty", options)).size, 0);
    server.script.push(answer(416, ""));
    await assert.rejects(openS3("s3://models/empty", options), raises("IO", /status 416/));
  });

  it("that changes is an error", async () => {
    const source = await open();
    server.etag = '"two"';
    await assert.rejects(source.read(2000, 10), raises("SOURCE_CHANGED", /another ETag/));
    server.objects.set("models/a/model.safetensors", bytes.subarray(0, 1500));
    await assert.rejects(source.read(2000, 10), raises("SOURCE_CHANGED", /has become shorter/));
  });

  it("needs a key", async () => {
    for (const address of ["s3://models", "s3://models/"]) {
      await assert.rejects(openS3(address, options), raises("IO", /names a bucket and no key/));
    }
    assert.equal(server.requests.length, 0);
  });

  it("is read again after what may pass", async () => {
    for (const trouble of [
      refusal(503, "SlowDown"),
      refusal(500, "InternalError"),
      refusal(429, "TooManyRequests"),
      refusal(408, "RequestTimeout"),
    ]) {
      server.script.push(trouble, trouble);
      assert.equal((await open()).size, 3000);
    }
    assert.equal(server.requests.length, 12);
    server.script.push(refusal(503, "SlowDown"), refusal(503, "SlowDown"), refusal(503, "SlowDown"));
    await assert.rejects(open(), raises("IO", /status 503 \(3 tries\)/));
  });

  it("is signed by the headers that are sent, whatever the `fetch` in use adds", async () => {
    const adding: typeof fetch = (url, init) => {
      const headers = new Headers(init?.headers);
      headers.set("accept-encoding", "gzip");
      headers.set("accept-language", "de");
      return fetch(url, { ...init, headers });
    };
    assert.equal((await open({ fetch: adding })).size, 3000);
  });
});

describe("a refusal of S3", () => {
  for (const [status, code, expected, message] of [
    [404, "NoSuchKey", "NOT_FOUND", /answered with "NoSuchKey", "A sentence\."$/],
    [404, "NoSuchBucket", "NOT_FOUND", /"NoSuchBucket"/],
    [403, "AccessDenied", "IO", /: these credentials may not read it \(s3:GetObject; s3:ListBucket/],
    [403, "InvalidAccessKeyId", "IO", /: the server does not know this access key/],
    [403, "SignatureDoesNotMatch", "IO", /: check the secret access key/],
    [400, "ExpiredToken", "IO", /: get new temporary credentials/],
    [400, "InvalidToken", "IO", /: check the session token/],
    [403, "RequestTimeTooSkewed", "IO", /: set the clock/],
    [403, "InvalidObjectState", "IO", /: the object is archived/],
    [400, "AuthorizationHeaderMalformed", "IO", /: check the region/],
    [301, "PermanentRedirect", "IO", /: give the region or the endpoint/],
    [403, "SomethingElse", "IO", /"SomethingElse", "A sentence\.": access is refused/],
    [400, "SomethingElse", "IO", /"SomethingElse", "A sentence\."$/],
  ] as const) {
    it(`says what to do: ${status} ${code}`, async () => {
      server.script.push(refusal(status, code));
      await assert.rejects(open(), raises(expected, message));
      assert.equal(server.requests.length, 1);
    });
  }

  it("of a request without a signature advises to sign it", async () => {
    const unsigned = { credentials: undefined };
    await assert.rejects(open(unsigned), raises("IO", /"AccessDenied".*: the request was not signed/));
    server.script.push(answer(400, "<html>no</html>"), refusal(403, "InvalidObjectState"));
    await assert.rejects(open(unsigned), raises("IO", /status 400: the request was not signed/));
    await assert.rejects(open(unsigned), raises("IO", /: the object is archived/));
  });

  it("may be written by something that is not S3", async () => {
    server.script.push(
      answer(404, "<html><code>NoSuchKey</code></html>"),
      answer(403, new Uint8Array([255, 0, 60])),
    );
    await assert.rejects(open(), raises("NOT_FOUND", /answered with status 404$/));
    await assert.rejects(open(), raises("IO", /answered with status 403: access is refused$/));
  });

  it("is shown as a quoted text of some length", async () => {
    server.script.push(refusal(400, "\u001b[31mE&#x1b;&lt;&#0;", "", {}, `\u202e${"x".repeat(500)}&amp;`));
    await assert.rejects(open(), (error: Error) => {
      assert.ok(error.message.length < 400, error.message);
      return raises("IO", /"\\u001b\[31mE\\u001b<\\u0000", "\\u202exxx/)(error);
    });
  });

  it("is read up to 64 KiB", async () => {
    let sent = 0;
    server.script.push(({ response, request }) => {
      response.writeHead(403);
      const more = (): void => {
        if (request.destroyed || response.destroyed) return;
        sent += 16384;
        response.write(" ".repeat(16384), () => setImmediate(more));
      };
      more();
    });
    await assert.rejects(open(), raises("IO", /status 403: access is refused/));
    assert.ok(sent < 64 * 2 ** 20, String(sent));
  });

  it("is not waited for longer than patience lasts", async () => {
    server.script.push(({ response }) => {
      response.writeHead(403);
      response.write("<Error>");
    });
    assert.equal((await open({ patience: 100 })).size, 3000);
    assert.equal(server.requests.length, 2);
  });

  it("names another host, which is shown and not asked", async () => {
    server.script.push(refusal(301, "PermanentRedirect", `<Endpoint>${other.endpoint}</Endpoint>`));
    await assert.rejects(open(), raises("IO", /the server names "http:/));
    assert.equal(other.requests.length, 0);
  });
});

describe("the region of a bucket", () => {
  it("is learnt from the server, once for all requests", async () => {
    server.region = "eu-west-9";
    const source = await open();
    assert.deepEqual(await source.read(0, 3000), bytes);
    assert.deepEqual(
      server.requests.map(({ headers }) => parseAuthorization(headers.authorization)!.region),
      ["us-east-1", "eu-west-9", "eu-west-9"],
    );
  });

  it("is asked for once, not for ever", async () => {
    server.script.push(
      refusal(400, "AuthorizationHeaderMalformed", "<Region>one</Region>"),
      refusal(400, "AuthorizationHeaderMalformed", "<Region>two</Region>"),
    );
    await assert.rejects(open(), raises("IO", /AuthorizationHeaderMalformed/));
    assert.equal(server.requests.length, 2);
  });

  it("is not what a refusal is about", async () => {
    server.script.push(refusal(403, "AccessDenied", "", { "x-amz-bucket-region": "eu-west-9" }));
    await assert.rejects(open(), raises("IO", /AccessDenied/));
    assert.equal(server.requests.length, 1);
  });

  it("is part of the host at AWS, and of no other host", async () => {
    const asked: string[] = [];
    const say = (region: string, status = 301): Response =>
      new Response("<Error><Code>PermanentRedirect</Code></Error>", {
        status,
        headers: { "x-amz-bucket-region": region },
      });
    const answers = [
      say("eu-west-9"),
      new Response(bytes.slice(0, 1000), {
        status: 206,
        headers: { "content-range": "bytes 0-999/3000", etag: '"one"' },
      }),
      new Response(bytes.slice(2000, 2010), {
        status: 206,
        headers: { "content-range": "bytes 2000-2009/3000", etag: '"one"' },
      }),
    ];
    const fake = (async (url: string, init: RequestInit) => {
      asked.push(`${url} ${parseAuthorization(new Headers(init.headers).get("authorization")!)!.region}`);
      return answers.shift()!;
    }) as unknown as typeof fetch;
    const aws = { endpoint: undefined, fetch: fake };
    const source = await open(aws);
    await source.read(2000, 10);
    assert.deepEqual(asked, [
      "https://models.s3.us-east-1.amazonaws.com/a/model.safetensors us-east-1",
      "https://models.s3.eu-west-9.amazonaws.com/a/model.safetensors eu-west-9",
      "https://models.s3.eu-west-9.amazonaws.com/a/model.safetensors eu-west-9",
    ]);
    for (const hostile of ["evil.example/", "a.evil.example", "x@evil.example", "..", ""]) {
      asked.length = 0;
      answers.push(say(hostile));
      await assert.rejects(open(aws), raises("IO", /PermanentRedirect/));
      assert.equal(asked.length, 1);
    }
  });
});

describe("a redirect of S3", () => {
  const secret = { ...KEYS, sessionToken: "secret-token" };
  const leaks = (to: S3Server): string[] =>
    to.requests.flatMap(({ headers }) =>
      Object.keys(headers).filter((name) => name === "authorization" || name.startsWith("x-amz-")),
    );
  const redirect = (location: string) => answer(307, "", { location });

  it("on the same server and in the same bucket is signed anew", async () => {
    server.token = secret.sessionToken;
    server.script.push(redirect("/models/a/model.safetensors?x=1"));
    server.objects.set("models/b", bytes);
    server.script.push(redirect("/models/b"));
    const source = await open({ credentials: secret });
    assert.deepEqual(await source.read(0, 3000), bytes);
    assert.equal(server.requests.at(-1)!.url, "/models/b");
  });

  it("takes no signature and no token to another server", async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      server.script.push(answer(status, "", { location: `${other.endpoint}/models/a/model.safetensors` }));
      await assert.rejects(open({ credentials: secret }), raises("IO", /status 403/));
    }
    assert.deepEqual(leaks(other), []);
    other.isPublic = true;
    other.objects.set("models/a/model.safetensors", bytes);
    server.script.push(redirect(`${other.endpoint}/models/a/model.safetensors`));
    const source = await open({ credentials: secret });
    assert.deepEqual(await source.read(0, 3000), bytes);
    assert.deepEqual(leaks(other), []);
    assert.equal(other.requests.length, 7);
  });

  it("takes none to a host that only begins like the server's, or to another bucket", async () => {
    const asked: [string, boolean][] = [];
    const fake = (async (url: string, init: RequestInit) => {
      asked.push([url, new Headers(init.headers).has("authorization")]);
      return asked.length % 2 === 1
        ? new Response(null, { status: 307, headers: { location: target } })
        : new Response(null, { status: 404 });
    }) as unknown as typeof fetch;
    let target = "";
    for (target of [
      "https://s3.example.evil.example/models/a",
      "https://s3.example:444/models/a",
      "https://s3.example@evil.example/models/a",
      "https://s3.example/models/../more/a",
      "https://s3.example/modelsx/a",
    ]) {
      asked.length = 0;
      await assert.rejects(open({ endpoint: "https://s3.example", credentials: secret, fetch: fake }));
      assert.deepEqual(
        asked.map(([, signed]) => signed),
        target.includes("@") ? [true] : [true, false],
        target,
      );
    }
  });

  it("is not followed by a browser with a signature", async () => {
    /** A browser's fetch hides redirects that it is not to follow. */
    const browser = (async (url: string, init: RequestInit): Promise<Response> => {
      const response = await fetch(url, init);
      if (init.redirect !== "manual" || response.status < 300 || response.status > 399) return response;
      return { type: "opaqueredirect", status: 0, headers: new Headers(), body: null, url } as Response;
    }) as typeof fetch;
    const location = `${other.endpoint}/models/a/model.safetensors`;
    server.script.push(redirect(location));
    await assert.rejects(
      open({ credentials: secret, fetch: browser }),
      raises("IO", /a browser does not say where/),
    );
    assert.equal(other.requests.length, 0);

    other.isPublic = true;
    other.objects.set("models/a/model.safetensors", bytes);
    server.script.push(redirect(location), redirect(location));
    assert.equal((await open({ credentials: undefined, fetch: browser })).size, 3000);
  });
});

describe("credentials for S3", () => {
  it("come with a session token where they are temporary", async () => {
    server.token = "token/+=";
    assert.equal((await open({ credentials: { ...KEYS, sessionToken: "token/+=" } })).size, 3000);
    server.token = undefined;
    assert.equal((await open({ credentials: { ...KEYS, sessionToken: "" } })).size, 3000);
  });

  it("are asked for when they are needed, and again when they have expired: once for many reads", async () => {
    server.token = "one";
    let asked = 0;
    const credentials = async (): Promise<S3Credentials> => {
      asked++;
      return { ...KEYS, sessionToken: server.token };
    };
    const source = await open({ credentials });
    assert.equal(asked, 1);
    server.token = "two";
    const reads = Array.from({ length: 20 }, (_, i) => source.read(1000 + i, 10));
    for (const [i, read] of (await Promise.all(reads)).entries()) {
      assert.deepEqual(read, bytes.subarray(1000 + i, 1010 + i));
    }
    assert.equal(asked, 2);
  });

  it("that are always expired are asked for again once", async () => {
    server.token = "good";
    let asked = 0;
    const credentials = (): S3Credentials => {
      asked++;
      return { ...KEYS, sessionToken: "old" };
    };
    await assert.rejects(open({ credentials }), raises("IO", /ExpiredToken.*: get new temporary/));
    assert.equal(asked, 2);
  });

  it("that cannot be had are an error, and are asked for again by the next read", async () => {
    let asked = 0;
    const credentials = (): S3Credentials => {
      if (++asked === 1) throw new Error("secret");
      return KEYS;
    };
    const store = s3Store("s3://models/a/", { ...options, credentials });
    await assert.rejects(store.open("model.safetensors"), (error: Error) => {
      assert.doesNotMatch(error.message, /secret/);
      assert.match((error.cause as Error).message, /secret/);
      return raises("IO", /function that gives the credentials failed/)(error);
    });
    assert.equal((await store.open("model.safetensors")).size, 3000);
  });

  it("that are long in coming are not waited for by a caller who has given up", async () => {
    const credentials = (): Promise<S3Credentials> => new Promise(() => {});
    await assert.rejects(open({ credentials, signal: AbortSignal.timeout(20) }), { name: "TimeoutError" });
    await assert.rejects(open({ credentials, patience: 10 }), raises("IO", /sent nothing for 10 ms/));
  });

  it("that cannot be sent are refused without showing them", async () => {
    for (const wrong of [
      { ...KEYS, sessionToken: "hidden\n" },
      { ...KEYS, secretAccessKey: "hidden " },
      { ...KEYS, accessKeyId: "hiddén" },
      { ...KEYS, accessKeyId: "" },
      { ...KEYS, secretAccessKey: undefined },
      null,
      "hidden",
    ]) {
      await assert.rejects(open({ credentials: () => wrong as S3Credentials }), (error: Error) => {
        assert.doesNotMatch(error.message, /hidd/);
        return raises("IO", /the (accessKeyId|secretAccessKey|sessionToken) is missing, or has/)(error);
      });
    }
    assert.equal(server.requests.length, 0);
  });

  it("are in no message, even when the server repeats them", async () => {
    const credentials = { ...KEYS, sessionToken: "FwoG/secret+token==" };
    server.script.push(({ request, response }) => {
      const { headers } = request;
      const message = `no: ${headers.authorization}; ${headers["x-amz-security-token"]}`;
      refusal(403, "AccessDenied", "", {}, message)({ request, response });
    });
    await assert.rejects(open({ credentials }), (error: Error) => {
      assert.doesNotMatch(error.message, /FwoG|[0-9a-f]{64}|a\/secret/);
      return raises("IO", /Signature=…; …/)(error);
    });
  });
});

describe("a bucket as a store", () => {
  it("opens the objects below a prefix", async () => {
    for (const address of ["s3://models/a/", "s3://models/a"]) {
      const store = s3Store(address, options);
      assert.equal(store.name, "s3://models/a/");
      assert.deepEqual(await (await store.open("model.safetensors")).read(0, 3000), bytes);
      await assert.rejects(store.open("other"), raises("NOT_FOUND", /models\/a\/other answered/));
      await assert.rejects(store.open(".."), raises("UNSUPPORTED"));
    }
    server.objects.set("models/top", bytes);
    assert.equal(s3Store("s3://models", options).name, "s3://models/");
    assert.equal(await (await s3Store("s3://models", options).open("top")).size, 3000);
  });

  it("learns the region for all its files", async () => {
    server.region = "eu-west-9";
    const store = s3Store("s3://models/a/", options);
    assert.deepEqual(await store.list!(), ["model.safetensors"]);
    await store.open("model.safetensors");
    assert.equal(server.requests.length, 3);
  });

  it("ends a wait with the signal of the call", async () => {
    const store = s3Store("s3://models/a/", options);
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(store.open("model.safetensors", { signal }), /enough/);
    await assert.rejects(store.list!({ signal }), /enough/);
  });
});
