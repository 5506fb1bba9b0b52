import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import { memorySink, save, type TensorData } from "safetensors.js/save";
import { type Run, runAsync, safetensors, temporaryFolder } from "./command.ts";

async function write(path: string, tensors: Record<string, TensorData>): Promise<void> {
  const sink = memorySink();
  await save(sink, tensors);
  writeFileSync(path, sink.bytes());
}

const vector = (...values: number[]): TensorData => {
  return { dtype: "F32", shape: [values.length], data: Float32Array.from(values) };
};

/** A folder with two shards of a checkpoint and its index. */
async function shards(t: TestContext): Promise<string> {
  const folder = temporaryFolder(t);
  const names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
  await write(join(folder, names[0]), { a: vector(1, 2) });
  await write(join(folder, names[1]), { b: vector(3, Number.NaN) });
  const index = { weight_map: { a: names[0], b: names[1] } };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  return folder;
}

/**
 * Serves the files of a folder, wherever they are asked for, with ranges; `asked` lists what was asked for.
 *
 * @param answer what to say instead.
 */
async function serve(
  t: TestContext,
  folder: string,
  answer: (path: string) => string | undefined = () => undefined,
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://x").pathname);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    asked.push(path.slice(1));
    const text = answer(path);
    if (text !== undefined) return void response.end(text);
    let bytes: Buffer;
    try {
      bytes = readFileSync(join(folder, basename(path)));
    } catch {
      response.writeHead(404).end();
      return;
    }
    const start = Number(range?.[1] ?? 0);
    const end = Math.min(Number(range?.[2] ?? Number.POSITIVE_INFINITY) + 1, bytes.length);
    response.writeHead(206, { etag: '"1"', "content-range": `bytes ${start}-${end - 1}/${bytes.length}` });
    response.end(bytes.subarray(start, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const ok = (run: Run): Run => {
  assert.equal(run.code, 0, run.stderr);
  return run;
};

test("every command reads from a web server, with few requests", async (t) => {
  const { url, asked } = await serve(t, await shards(t));
  const shown = ok(await runAsync(["show", `${url}/model-00001-of-00002.safetensors`, "a[1]", "--verbose"]));
  assert.match(shown.stdout, /\[\]\n2\n$/);
  assert.match(shown.stderr, /^read 72 bytes in 1 request$/m);
  asked.length = 0;
  // Of the shards only the one that has the tensor is opened.
  assert.match(ok(await runAsync(["show", `${url}/model.safetensors.index.json`, "b"])).stdout, /\[3, NaN\]/);
  assert.deepEqual(asked, ["model.safetensors.index.json", "model-00002-of-00002.safetensors"]);
  // A folder: its usual names are asked for.
  assert.equal(JSON.parse(ok(await runAsync(["inspect", `${url}/`, "--json"])).stdout).tensorCount, 2);
  assert.match(ok(await runAsync(["check", `${url}/`])).stdout, /: valid {2}safetensors, 2 files, 2 tensors/);
  const stats = JSON.parse(ok(await runAsync(["stats", `${url}/`, "--names", "a", "--json"])).stdout);
  assert.deepEqual(
    stats.tensors.map(({ name, max }: { name: string; max: number }) => [name, max]),
    [["a", 2]],
  );

  const missing = await runAsync(["inspect", `${url}/nothing.safetensors`]);
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /NOT_FOUND/);
});

test("a model hub and a bucket are read, as the environment says", async (t) => {
  const folder = await shards(t);
  const { url, asked } = await serve(t, folder, (path) => {
    if (path === "/api/models/org/name/revision/main") {
      const siblings = readdirSync(folder).map((rfilename) => ({ rfilename }));
      return JSON.stringify({ sha: "0123456789".repeat(4), siblings });
    }
    if (path !== "/bucket/") return undefined;
    const keys = readdirSync(folder).map((name) => `<Contents><Key>model/${name}</Key></Contents>`);
    return `<ListBucketResult><IsTruncated>false</IsTruncated>${keys.join("")}</ListBucketResult>`;
  });
  const env = { HF_ENDPOINT: url, HF_TOKEN: "secret", AWS_ENDPOINT_URL: url };
  const whole = ok(await runAsync(["inspect", "hf://org/name", "--json", "--verbose"], env));
  assert.equal(JSON.parse(whole.stdout).tensorCount, 2);
  // The commit with the list, the index, two headers.
  assert.match(whole.stderr, /in 4 requests/);
  const file = "hf://org/name@main/model-00002-of-00002.safetensors";
  asked.length = 0;
  assert.match(ok(await runAsync(["show", file, "b[0]"], env)).stdout, /\n3\n$/);
  assert.deepEqual(asked, ["org/name/resolve/main/model-00002-of-00002.safetensors"]);

  assert.match(ok(await runAsync(["check", "s3://bucket/model/"], env)).stdout, /: valid .*2 tensors/);
  const object = "s3://bucket/model/model-00001-of-00002.safetensors";
  assert.match(ok(await runAsync(["show", object, "a[0]"], env)).stdout, /\n1\n$/);
});

test("a pattern stands for the files that match it", async (t) => {
  const folder = await shards(t);
  const run = ok(safetensors(["inspect", join(folder, "model-*.safetensors"), "--json", "--verbose"]));
  const found: { tensors: { name: string }[] }[] = JSON.parse(run.stdout);
  assert.deepEqual(
    found.map(({ tensors }) => tensors.map(({ name }) => name)),
    [["a"], ["b"]],
  );
  assert.equal(run.stderr.match(/^read [\d,]+ bytes in \d+ requests?$/gm)?.length, 2);
  const text = ok(safetensors(["stats", join(folder, "model-0000?-of-*.safetensors")])).stdout;
  assert.match(text, /^.*model-00001-of-00002\.safetensors\n.*\n\n.*model-00002-of-00002\.safetensors\n/s);
  assert.match(ok(safetensors(["show", join(folder, "*1-of-*.safetensors"), "a"])).stdout, /\[1, 2\]/);
  assert.match(
    ok(safetensors(["check", join(folder, "model-{00001,00002}-*")])).stdout,
    /2 valid, 0 invalid/,
  );

  const several = safetensors(["show", join(folder, "*.safetensors"), "a"]);
  assert.equal(several.code, 2);
  assert.match(several.stderr, /AMBIGUOUS: 2 files match/);
  for (const command of ["inspect", "check", "stats"]) {
    const none = safetensors([command, join(folder, "*.gguf")]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /NOT_FOUND: nothing matches/);
  }
});

test("a file is meant before a pattern", async (t) => {
  const folder = temporaryFolder(t);
  await write(join(folder, "a[1].safetensors"), { odd: vector(1) });
  await write(join(folder, "a1.safetensors"), { even: vector(1) });
  assert.match(ok(safetensors(["inspect", join(folder, "a[1].safetensors")])).stdout, /odd/);
});

test("of several inputs one that fails does not stop the others", async (t) => {
  const folder = await shards(t);
  const inputs = [join(folder, "missing"), folder];
  const run = safetensors(["inspect", ...inputs, "--json"]);
  assert.equal(run.code, 2);
  const [failed, found] = JSON.parse(run.stdout);
  assert.equal(failed.error.code, "NOT_FOUND");
  assert.equal(found.tensorCount, 2);
});
