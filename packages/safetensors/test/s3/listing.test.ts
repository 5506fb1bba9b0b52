import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { s3Store } from "../../src/s3/index.ts";
import { noise, raises } from "../support.ts";
import { answer, KEYS, refusal, S3Server } from "./s3-server.ts";

const server = await S3Server.start();
beforeEach(() => server.reset());

const options = { endpoint: server.endpoint, credentials: KEYS, retry: { tries: 3, firstWait: 1 } };
const list = (address = "s3://models/a/"): Promise<readonly string[]> => s3Store(address, options).list!();
const put = (...keys: readonly string[]): void => {
  for (const key of keys) server.objects.set(`models/${key}`, noise(1));
};
const page = (inside: string) => answer(200, `<ListBucketResult>${inside}</ListBucketResult>`);

describe("the list of a bucket", () => {
  it("has the objects directly below a prefix", async () => {
    put("a/", "a/one", "a/two", "a/b/three", "ab/four", "five", "a//six");
    assert.deepEqual(await list(), ["one", "two"]);
    assert.deepEqual(await list("s3://models/a/b"), ["three"]);
    assert.deepEqual(await list("s3://models/a//"), ["six"]);
    assert.deepEqual(await list("s3://models"), ["five"]);
    assert.deepEqual(await list("s3://more/a/"), []);
  });

  it("comes page by page", async () => {
    const names = Array.from({ length: 25 }, (_, i) => `model-${String(i).padStart(5, "0")}`);
    put(...names.map((name) => `a/${name}`), ...names.map((name) => `a/a-${name}/x`));
    server.pageSize = 10;
    assert.deepEqual(await list(), names);
    assert.equal(server.requests.length, 5);
    assert.match(server.requests[1]!.url!, /&continuation-token=from%20%2B%2010$/);
  });

  it("has names as they are, whatever they are", async () => {
    const name = fc
      .string({ unit: "binary", minLength: 1, maxLength: 12 })
      .filter((text) => text.isWellFormed() && !text.includes("/"));
    const odd = fc.constantFrom("a b", "a+b", "a%20b", "&amp;", "<Key>", "é😀", "\u0001", "'()*!~");
    const names = fc.uniqueArray(fc.oneof(name, odd), { maxLength: 5 });
    const property = fc.asyncProperty(names, name, async (inside, prefix) => {
      server.reset();
      put(...inside.map((one) => `${prefix}/${one}`));
      assert.deepEqual([...(await list(`s3://models/${prefix}/`))].sort(), [...inside].sort());
    });
    await fc.assert(property, { seed: 42, numRuns: 40 });
  });

  it("may be written with references to characters by servers that do not escape", async () => {
    server.script.push(
      page(
        "<IsTruncated>false</IsTruncated><Contents><Key>a/&lt;b&gt;&#x2b;&#43;&amp;amp;&quot;&apos;%20+&nbsp;&#x110000;</Key></Contents>",
      ),
    );
    assert.deepEqual(await list(), ["<b>++&amp;\"'%20+&nbsp;&#x110000;"]);
  });

  it("has no names from elsewhere, whatever the server says", async () => {
    server.script.push(
      page("<Contents><Key>b/one</Key></Contents><Contents><Key>a/b/two</Key></Contents><Key>a/three</Key>"),
    );
    assert.deepEqual(await list(), ["three"]);
  });

  it("is asked for again after what may pass", async () => {
    put("a/one");
    server.script.push(refusal(503, "SlowDown"), ({ response }) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write("<ListBucketResult>", () => response.destroy());
    });
    assert.deepEqual(await list(), ["one"]);
    server.script.push(...Array.from({ length: 3 }, () => refusal(500, "InternalError")));
    await assert.rejects(list(), raises("IO", /status 500 \(3 tries\)/));
  });

  it("is refused with what to do", async () => {
    await assert.rejects(list("s3://nothing/a/"), raises("NOT_FOUND", /"NoSuchBucket"/));
    server.script.push(refusal(403, "AccessDenied"));
    await assert.rejects(list(), raises("IO", /s3:ListBucket/));
  });

  it("is no list when it is something else", async () => {
    for (const [trouble, message] of [
      [answer(200, "<html></html>"), /something else/],
      [answer(204, ""), /status 204/],
      [page("<IsTruncated>true</IsTruncated>"), /no way to go on/],
      [page("<EncodingType>url</EncodingType><Contents><Key>a/%zz</Key></Contents>"), /wrongly encoded/],
      [page("<Key>a/x</Key>".repeat(1001)), /1001 keys at once/],
      [answer(200, `<ListBucketResult>${" ".repeat(5_000_000)}`), /more than 4096000 bytes at once/],
    ] as const) {
      server.script.push(trouble);
      await assert.rejects(list(), raises("IO", message));
    }
  });

  it("ends where the server does not", async () => {
    const more = (token: string) =>
      page(`<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`);
    server.script.push(more("same"), more("same"));
    await assert.rejects(list(), raises("IO", /no way to go on/));
    server.reset();
    server.script.push(...Array.from({ length: 150 }, (_, i) => more(String(i))));
    await assert.rejects(
      list(),
      raises("LIMIT_EXCEEDED", /more than 100 pages/, { limit: "MAX_LIST_PAGES" }),
    );
    assert.equal(server.requests.length, 100);
  });

  it("is read in time that grows with its length, whatever is in it", async () => {
    for (const piece of ["<Key>", "<Key", "&", "&#", "</Key>", "<Key></Key"]) {
      server.script.push(
        answer(200, `<ListBucketResult ${piece.repeat(Math.floor(4_000_000 / piece.length))}`),
      );
      const start = performance.now();
      await list().catch(() => {});
      assert.ok(performance.now() - start < 5000, piece);
    }
  });
});
