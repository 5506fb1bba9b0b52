import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { bucketAddress, encodeKey, parseLocation } from "../../src/s3/address.ts";
import { s3Store } from "../../src/s3/open.ts";
import { raises } from "../support.ts";

const run = { seed: 42, numRuns: 500 };
const text = fc.string({ unit: "binary", maxLength: 20 });

describe("an address of S3", () => {
  for (const [address, bucket, key] of [
    ["s3://models/a/b.safetensors", "models", "a/b.safetensors"],
    ["s3://models", "models", ""],
    ["S3://models/A", "models", "A"],
    ["s3://models/", "models", ""],
    ["s3://models//a//b/", "models", "/a//b/"],
    ["s3://models/a b+c%20?d#e\n", "models", "a b+c%20?d#e\n"],
    ["s3://My_old.Bucket/a", "My_old.Bucket", "a"],
  ] as const) {
    it(`names a bucket and a key: ${JSON.stringify(address)}`, () => {
      assert.deepEqual(parseLocation(address), { bucket, key });
    });
  }

  for (const address of ["", "models/a", "https://models/a", "s3:/models/a"]) {
    it(`is not ${JSON.stringify(address)}`, () => {
      assert.throws(() => parseLocation(address), raises("IO", /no address of the form s3:/));
    });
  }

  for (const bucket of [
    "",
    "a",
    ".",
    "..",
    ".a",
    "-a",
    "a b",
    "a@b",
    "a:80",
    "a?b",
    "a#b",
    "a%2e",
    "a\\b",
    "é1",
    "a\n",
  ]) {
    it(`has no bucket ${JSON.stringify(bucket)}`, () => {
      assert.throws(() => s3Store(`s3://${bucket}/key`), raises("IO", /no name of a bucket/));
    });
  }
});

describe("the address of a bucket", () => {
  for (const [bucket, region, options, address] of [
    ["models", "eu-west-1", {}, "https://models.s3.eu-west-1.amazonaws.com/"],
    ["models", "cn-north-1", {}, "https://models.s3.cn-north-1.amazonaws.com.cn/"],
    ["models", "eu-west-1", { forcePathStyle: true }, "https://s3.eu-west-1.amazonaws.com/models/"],
    // A certificate for *.s3… is none for names with a point.
    ["my.models", "eu-west-1", {}, "https://s3.eu-west-1.amazonaws.com/my.models/"],
    ["Old_models", "us-east-1", {}, "https://s3.us-east-1.amazonaws.com/Old_models/"],
    ["models", "x", { endpoint: "http://127.0.0.1:9000" }, "http://127.0.0.1:9000/models/"],
    ["models", "x", { endpoint: "https://h.example/storage/s3/" }, "https://h.example/storage/s3/models/"],
    ["models", "x", { endpoint: "https://h.example/storage/s3" }, "https://h.example/storage/s3/models/"],
    [
      "models",
      "x",
      { endpoint: "https://h.example:9000", forcePathStyle: false },
      "https://models.h.example:9000/",
    ],
  ] as const) {
    it(`is ${address}`, () => assert.equal(bucketAddress(bucket, region, options), address));
  }

  it("cannot be had for every name in a host", () => {
    for (const [bucket, endpoint] of [
      ["my.models", "https://h.example"],
      ["Models", "https://h.example"],
      ["models-", "https://h.example"],
      ["models", "http://127.0.0.1:9000"],
      ["models", "http://[::1]:9000"],
    ] as const) {
      assert.throws(
        () => bucketAddress(bucket, "x", { endpoint, forcePathStyle: false }),
        raises("IO", /set forcePathStyle/),
      );
    }
  });

  it("needs an endpoint that is one, which no message repeats", () => {
    for (const endpoint of [
      "",
      "h.example",
      "ftp://secret.example",
      "https://me:secret@h.example",
      "https://h.example/?secret",
      "https://h.example/#secret",
    ]) {
      assert.throws(
        () => s3Store("s3://models", { endpoint }),
        (error: Error) => !error.message.includes("secret") && raises("IO", /endpoint is no http/)(error),
      );
    }
  });

  it("needs a region that is one", () => {
    for (const region of ["evil.example/", "a.b", "a/b", "a@b", "é"]) {
      assert.throws(() => s3Store("s3://models", { region }), raises("IO", /no name of a region/));
    }
  });

  it("is on the server that was meant, whatever the names are", () => {
    const name = fc.oneof(
      text,
      fc.string({ unit: fc.constantFrom(..."ab.-_A1:/@?#\\%2e[]"), maxLength: 12 }),
    );
    const property = fc.property(name, name, fc.boolean(), fc.boolean(), (written, region, aws, inPath) => {
      const endpoint = aws ? undefined : "https://h.example";
      const options = { region, endpoint, forcePathStyle: inPath };
      let bucket: string;
      try {
        bucket = parseLocation(`s3://${written}`).bucket;
        s3Store(`s3://${written}`, options);
      } catch (error) {
        return raises("IO")(error);
      }
      const host = aws ? `s3.${(region || "us-east-1").toLowerCase()}.amazonaws.com` : "h.example";
      const expected = inPath ? `https://${host}/${bucket}/` : `https://${bucket}.${host}/`;
      const { href } = new URL(bucketAddress(bucket, region || "us-east-1", options));
      assert.equal(href, expected);
      return true;
    });
    fc.assert(property, run);
  });
});

describe("a key in an address", () => {
  for (const [key, encoded] of [
    ["a b+c%41", "a%20b%2Bc%2541"],
    ["/a//b/", "/a//b/"],
    ["é😀", "%C3%A9%F0%9F%98%80"],
    ["-_.~!'()*", "-_.~%21%27%28%29%2A"],
    ["...", "..."],
    ["a?b#c&d=e\\f\n", "a%3Fb%23c%26d%3De%5Cf%0A"],
  ] as const) {
    it(`is escaped: ${JSON.stringify(key)}`, () => assert.equal(encodeKey(key), encoded));
  }

  it("cannot have parts that `fetch` would resolve", () => {
    for (const key of [".", "..", "../more/key", "a/../b", "a/.", "./a"]) {
      assert.throws(() => encodeKey(key), raises("UNSUPPORTED", /part "\." or "\.\."/));
    }
  });

  it("cannot be half a character", () => {
    assert.throws(() => encodeKey("\ud800"), raises("IO", /not valid Unicode/));
  });

  it("names that key and no other, whatever it is", () => {
    const part = fc.oneof(text, fc.constantFrom("", "%2e", "%2e%2e", "..", "+", " ", "%2F"));
    const property = fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
      const key = parts.join("/");
      let encoded: string;
      try {
        encoded = encodeKey(key);
      } catch (error) {
        return assert.ok(
          key.split("/").some((one) => one === "." || one === "..") || !key.isWellFormed(),
          String(error),
        );
      }
      const url = new URL(`https://h.example/models/${encoded}`);
      assert.equal(url.href, `https://h.example/models/${encoded}`);
      assert.equal(url.pathname.slice("/models/".length).split("/").map(decodeURIComponent).join("/"), key);
    });
    fc.assert(property, run);
  });
});
