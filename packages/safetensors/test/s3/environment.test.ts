import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { credentialsFromEnvironment } from "../../src/s3/index.ts";
import { raises } from "../support.ts";

describe("the environment", () => {
  it("names credentials, region and endpoint as the tools of AWS read them", () => {
    assert.deepEqual(
      credentialsFromEnvironment({
        AWS_ACCESS_KEY_ID: "id",
        AWS_SECRET_ACCESS_KEY: "secret",
        AWS_SESSION_TOKEN: "token",
        AWS_REGION: "eu-west-1",
        AWS_DEFAULT_REGION: "us-west-2",
        AWS_ENDPOINT_URL: "https://a.example",
        AWS_ENDPOINT_URL_S3: "https://b.example",
      }),
      {
        credentials: { accessKeyId: "id", secretAccessKey: "secret", sessionToken: "token" },
        region: "eu-west-1",
        endpoint: "https://b.example",
      },
    );
    const { region, endpoint } = credentialsFromEnvironment({
      AWS_REGION: "",
      AWS_DEFAULT_REGION: "us-west-2",
      AWS_ENDPOINT_URL: "https://a.example",
    });
    assert.deepEqual([region, endpoint], ["us-west-2", "https://a.example"]);
  });

  it("may have nothing", () => {
    const nothing = { credentials: undefined, region: undefined, endpoint: undefined };
    assert.deepEqual(credentialsFromEnvironment({}), nothing);
    assert.deepEqual(credentialsFromEnvironment({ AWS_ACCESS_KEY_ID: "", AWS_SESSION_TOKEN: "x" }), nothing);
  });

  it("may not have half of an access key", () => {
    for (const half of [{ AWS_ACCESS_KEY_ID: "secret" }, { AWS_SECRET_ACCESS_KEY: "secret" }]) {
      assert.throws(
        () => credentialsFromEnvironment(half),
        (error: Error) => !error.message.includes('"secret"') && raises("IO", /belong together/)(error),
      );
    }
  });
});

describe("without the package aws4fetch", () => {
  const s3 = new URL("../../src/s3/index.js", import.meta.url).href;
  const hooks = `export async function resolve(name, context, next) {
    if (name === "aws4fetch") throw Object.assign(new Error("not there"), { code: "ERR_MODULE_NOT_FOUND" });
    return next(name, context);
  }`;
  const script = `
    import { register } from "node:module";
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)});
    const { openS3 } = await import(${JSON.stringify(s3)});
    const answer = async () => new Response("x", { status: 206, headers: { "content-range": "bytes 0-0/1" } });
    const credentials = { accessKeyId: "id", secretAccessKey: "secret" };
    const open = (options) => openS3("s3://models/a", { fetch: answer, ...options }).then(
      ({ size }) => size, ({ code, message }) => [code, message]);
    console.log(JSON.stringify([await open({}), await open({ credentials })]));`;

  it("public buckets are read, and signing says what to install", () => {
    const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
      encoding: "utf8",
    });
    const [size, [code, message]] = JSON.parse(printed) as [number, [string, string]];
    assert.equal(size, 1);
    assert.equal(code, "UNSUPPORTED");
    assert.match(message, /npm install aws4fetch/);
  });
});
