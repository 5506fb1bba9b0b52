import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { openPath, saveFile } from "safetensors.js/node";
import type { TensorData } from "safetensors.js/save";
import { namesIn, type Run, runAsync, safetensors, temporaryFolder } from "./command.ts";

const CONFIG = {
  model_type: "llama",
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 2,
  num_hidden_layers: 2,
  vocab_size: 13,
  tie_word_embeddings: false,
};

let seed = 0;

function tensor(...shape: readonly number[]): TensorData {
  const count = shape.reduce((product, size) => product * size, 1);
  return { dtype: "BF16", shape, data: Uint16Array.from({ length: count }, (_, i) => (i + seed++) * 7919) };
}

/** A folder with a small model and its configuration. */
async function writeModel(test: TestContext): Promise<string> {
  seed = 0;
  const layer = (index: number): [string, TensorData][] => {
    const at = `model.layers.${index}`;
    return [
      [`${at}.self_attn.q_proj.weight`, tensor(16, 8)],
      [`${at}.self_attn.k_proj.weight`, tensor(8, 8)],
      [`${at}.self_attn.v_proj.weight`, tensor(8, 8)],
      [`${at}.self_attn.o_proj.weight`, tensor(8, 16)],
      [`${at}.mlp.up_proj.weight`, tensor(24, 8)],
      [`${at}.mlp.down_proj.weight`, tensor(8, 24)],
      [`${at}.input_layernorm.weight`, tensor(8)],
    ];
  };
  const folder = join(temporaryFolder(test), "model");
  mkdirSync(folder);
  const tensors = [
    ["model.embed_tokens.weight", tensor(13, 8)] as const,
    ...layer(0),
    ...layer(1),
    ["model.norm.weight", tensor(8)] as const,
    ["lm_head.weight", tensor(13, 8)] as const,
  ];
  await saveFile(join(folder, "model.safetensors"), tensors, { metadata: { format: "pt" } });
  writeFileSync(join(folder, "config.json"), JSON.stringify(CONFIG));
  return folder;
}

const ok = (run: Run): string => {
  assert.deepEqual([run.code, run.stderr], [0, ""]);
  return run.stdout;
};

const fails = (args: readonly string[], code: number, message: RegExp): void => {
  const run = safetensors(args);
  assert.equal(run.code, code, run.stderr);
  assert.match(run.stderr, message);
};

const rankNames = (count: number): string[] =>
  Array.from({ length: count }, (_, rank) => `model-rank-${rank}-part-0.safetensors`);

describe("safetensors shard", () => {
  it("writes what each rank has, which merge --ranks puts together byte for byte", async (test) => {
    const model = await writeModel(test);
    const [out, back] = [join(model, "../ranks"), join(model, "../back.safetensors")];
    const text = ok(safetensors(["shard", model, "--tp", "4", "--out", out, "--with-files", "--verify"]));
    assert.match(text, /^sharded 68 tensors, .*\n {2}written .*model-rank-0-part-0\.safetensors/);
    assert.match(text, /ranks +4 ranks, each .* of .* kB/);
    assert.match(text, /whole +3 tensors that no pattern of the plan is for/);
    assert.deepEqual(namesIn(out), ["config.json", ...rankNames(4)]);
    await using last = await openPath(join(out, rankNames(4)[3]!));
    // A vocabulary of 13 in parts of 4: one row is left.
    assert.deepEqual(last.get("lm_head.weight").shape, [1, 8]);
    const merged = ok(safetensors(["merge", "--ranks", out, "--output", back]));
    assert.match(merged, /^merged 17 tensors/);
    assert.match(merged, /from +4 ranks in 4 files, cut as they say/);
    assert.match(merged, /tensors +14 were cut, 3 in several ranks, where they are the same, 0 in one/);
    assert.deepEqual(readFileSync(back), readFileSync(join(model, "model.safetensors")));
  });

  it("writes one rank, as a file or into the folder, the same as with all", async (test) => {
    const model = await writeModel(test);
    const [all, some] = [join(model, "../all"), join(model, "../some")];
    const file = join(model, "../rank.safetensors");
    const world = ["--tp", "2", "--pp", "2"];
    ok(safetensors(["shard", model, ...world, "--out", all]));
    for (const rank of ["0", "1", "2", "3"])
      ok(safetensors(["shard", model, ...world, "--rank", rank, "--out", some]));
    ok(safetensors(["shard", model, ...world, "--rank", "2", "--out", file]));
    for (const name of rankNames(4))
      assert.deepEqual(readFileSync(join(some, name)), readFileSync(join(all, name)));
    assert.deepEqual(readFileSync(file), readFileSync(join(all, rankNames(3)[2]!)));
  });

  it("says what it would do, as JSON too; takes what an earlier run of more ranks left away", async (test) => {
    const model = await writeModel(test);
    const out = join(model, "../ranks");
    const dry = JSON.parse(
      ok(safetensors(["shard", model, "--tp", "4", "--out", out, "--dry-run", "--json"])),
    );
    assert.deepEqual([dry.dryRun, dry.files.length, dry.ranks.length, dry.world], [true, 4, 4, { tp: 4 }]);
    assert.deepEqual(namesIn(join(model, "..")), ["model"]);
    ok(safetensors(["shard", model, "--tp", "4", "--out", out, "--max-shard-size", "300B"]));
    assert.ok(namesIn(out).includes("model-rank-3-part-2.safetensors"));
    const { removed } = JSON.parse(ok(safetensors(["shard", model, "--tp", "2", "--out", out, "--json"])));
    assert.ok(removed.length > 2);
    assert.deepEqual(namesIn(out), rankNames(2));
  });

  it("says what would do, where something does not", async (test) => {
    const model = await writeModel(test);
    const out = join(model, "../out");
    const shard = (...more: string[]): string[] => ["shard", model, "--out", out, ...more];
    fails(shard("--tp", "3"), 1, /k_proj.*4 heads do not divide by 3 ranks; --tp 2, 4, 8 would do/);
    fails(shard("--tp", "2", "--rank", "2"), 1, /no rank 2, but the ranks 0 to 1/);
    fails(shard("--rank", "1"), 1, /only rank 0: say how many there are, with --tp/);
    fails(shard("--tp", "zero"), 2, /whole number from 1 on/);
    fails(shard("--tp", "2", "--experts-over", "xp"), 2, /some of pp,dp,ep,tp/);
    fails(
      ["shard", model, "--tp", "2", "--out", `${out}.safetensors`],
      2,
      /one file, and there are several ranks/,
    );
    const plan = join(model, "../plan.json");
    writeFileSync(plan, '{"lm_head": "colwyse"}');
    fails(shard("--tp", "2", "--plan", plan), 1, /plan\.json: "colwyse" is no style; known are colwise, /);
    writeFileSync(plan, "{");
    fails(shard("--tp", "2", "--plan", plan), 1, /plan\.json is not JSON/);
    fails(shard("--tp", "2", "--plan", "none.json"), 2, /no file none\.json/);
    const { num_attention_heads: _, ...rest } = CONFIG;
    writeFileSync(join(model, "config.json"), JSON.stringify(rest));
    fails(
      shard("--tp", "2"),
      1,
      /configuration of this "llama" has no "num_attention_heads"; name another with --config/,
    );
    writeFileSync(join(model, "config.json"), JSON.stringify({ ...CONFIG, model_type: "new" }));
    fails(shard("--tp", "2"), 2, /no plan is known for the model type "new"/);
    rmSync(join(model, "config.json"));
    fails(
      shard("--tp", "2"),
      2,
      /no config\.json beside the input, which --plan auto needs; name one with --config/,
    );
    fails(
      shard("--pp", "2"),
      2,
      /pipeline parallelism needs a config\.json, and there is none beside the input/,
    );
    assert.deepEqual(namesIn(join(model, "..")), ["model", "plan.json"]);
  });

  it("cuts no codes of quantised weights of which it is not known how they are packed", async (test) => {
    const folder = temporaryFolder(test);
    const [path, plan] = [join(folder, "codes.safetensors"), join(folder, "plan.json")];
    await saveFile(path, { "up.codes": { dtype: "I32", shape: [4, 2], data: new Int32Array(8) } });
    writeFileSync(plan, '{"up": "colwise"}');
    const args = ["shard", path, "--tp", "2", "--plan", plan, "--out", join(folder, "out")];
    fails(args, 2, /"up\.codes" .*looks like a part of a quantised weight, and neither config\.json/);
  });

  it("takes plan and configuration from files, and a plan of transformers out of a config", async (test) => {
    const model = await writeModel(test);
    const [config, plan, out] = [
      join(model, "../c.json"),
      join(model, "../plan.json"),
      join(model, "../out"),
    ];
    renameSync(join(model, "config.json"), config);
    writeFileSync(
      plan,
      JSON.stringify({ base_model_tp_plan: { "layers.*.mlp.up_proj": "colwise", gone: "rowwise" } }),
    );
    const text = ok(safetensors(["shard", model, "--tp", "2", "--plan", plan, "--out", out]));
    assert.match(text, /whole +15 tensors/);
    assert.match(text, /no use +no tensor has a name for the pattern gone/);
    const { plan: planned } = JSON.parse(
      ok(safetensors(["plan", model, "--tp", "2", "--config", config, "--plan", "transformers", "--json"])),
    );
    assert.equal(planned.whole.length, 3);
  });
});

describe("safetensors merge --ranks", () => {
  it("takes files and folders of ranks in any order, and refuses what does not fit", async (test) => {
    const model = await writeModel(test);
    const [ranks, back] = [join(model, "../ranks"), join(model, "../back.safetensors")];
    ok(safetensors(["shard", model, "--tp", "2", "--out", ranks]));
    const [first, second] = rankNames(2).map((name) => join(ranks, name));
    ok(safetensors(["merge", "--ranks", second!, first!, "--output", back]));
    assert.deepEqual(readFileSync(back), readFileSync(join(model, "model.safetensors")));
    fails(
      ["merge", "--ranks", first!, "--output", back],
      1,
      /of the 2 ranks \(tp 2\), rank 1 is missing[\s\S]*Give what all ranks/,
    );
    fails(["merge", "--ranks", model, "--output", back], 2, /does not say how it was cut: give the plan/);
    fails(["merge", "--ranks", ranks, "--output", first!], 2, /is the input itself/);
    const other = join(model, "../other");
    ok(safetensors(["shard", model, "--tp", "4", "--out", other]));
    const mixed = ["merge", "--ranks", first!, join(other, rankNames(2)[1]!), "--output", back];
    fails(mixed, 1, /is of a world of tp 2 .* of a world of tp 4/);
  });

  it("puts files of others together by a plan: named by rank, or a folder for each", async (test) => {
    const model = await writeModel(test);
    const [ranks, back] = [join(model, "../ranks"), join(model, "../back.safetensors")];
    ok(safetensors(["shard", model, "--tp", "2", "--out", ranks]));
    // As others write them: nothing is said in the metadata.
    const [foreign, folders] = [join(model, "../foreign"), join(model, "../folders")];
    for (const [rank, name] of rankNames(2).entries()) {
      await using share = await openPath(join(ranks, name));
      const tensors = Array.from(share, (one) => [one.name, one] as const);
      mkdirSync(join(folders, `tp_rank_0${rank}`), { recursive: true });
      mkdirSync(foreign, { recursive: true });
      await saveFile(join(foreign, `model${rank}-mp2.safetensors`), tensors, { metadata: { format: "pt" } });
      cpSync(
        join(foreign, `model${rank}-mp2.safetensors`),
        join(folders, `tp_rank_0${rank}`, "model.safetensors"),
      );
    }
    const original = readFileSync(join(model, "model.safetensors"));
    const config = ["--config", join(model, "config.json")];
    const text = ok(safetensors(["merge", "--ranks", foreign, ...config, "--output", back]));
    assert.match(text, /2 ranks in 2 files, cut as the plan says/);
    assert.deepEqual(readFileSync(back), original);
    const inputs = [1, 0].map((rank) => join(folders, `tp_rank_0${rank}`));
    ok(safetensors(["merge", "--ranks", ...inputs, ...config, "--output", back]));
    assert.deepEqual(readFileSync(back), original);
    fails(
      ["merge", "--ranks", foreign, "--output", back],
      2,
      /give the plan that cut it, --plan FILE or --config/,
    );
    fails(
      ["merge", "--ranks", foreign, ...config, "--tp", "4", "--output", back],
      1,
      /of the 4 ranks \(tp 4\), rank 2, 3 is missing/,
    );
    cpSync(join(model, "config.json"), join(foreign, "config.json"));
    ok(safetensors(["merge", "--ranks", foreign, "--output", back]));
    assert.deepEqual(readFileSync(back), original);
    for (const rank of [0, 1]) renameSync(join(folders, `tp_rank_0${rank}`), join(folders, "ab"[rank]!));
    const named = ["a", "b"].map((name) => join(folders, name));
    fails(["merge", "--ranks", ...named, ...config, "--output", back], 2, /not known which rank/);
  });
});

describe("safetensors plan", () => {
  it("says what each rank has and reads, and what the plan leaves whole", async (test) => {
    const model = await writeModel(test);
    const text = ok(safetensors(["plan", model, "--tp", "2", "--pp", "2"]));
    assert.match(text, /^4 ranks, .* of a checkpoint of /);
    assert.match(text, /rank +place +tensors +bytes +of all +read +of use +requests +peak/);
    assert.match(text, /\n +3 +pp 1, tp 1 +9 /);
    assert.match(text, /whole +model\.layers\.\*\.input_layernorm\.weight, 2 tensors\n +model\.norm\.weight/);
    assert.match(
      text,
      /tp +1, 2, 4, 8 are possible\n +16 is not: model\.layers\.0\.self_attn\.o_proj\.weight: /,
    );
    const { ranks, wholeBytes, sizes } = JSON.parse(ok(safetensors(["plan", model, "--tp", "2", "--json"])));
    assert.equal(ranks.length, 2);
    assert.deepEqual(sizes[1], { tp: 2, obstacles: [] });
    assert.match(sizes[2].obstacles[0].reason, /4 heads do not divide by 3 ranks/);
    for (const { bytes, usefulBytes, bytesRead, requests } of ranks) {
      assert.equal(usefulBytes, bytes);
      assert.ok(bytesRead >= bytes && bytesRead <= wholeBytes && requests > 0);
    }
    fails(["plan", model, "--tp", "3"], 1, /--tp 2, 4, 8 would do/);
    fails(["plan", join(model, "none")], 2, /NOT_FOUND/);
  });

  it("prints a device map as accelerate has it", async (test) => {
    const model = await writeModel(test);
    const map = (...more: string[]): unknown =>
      JSON.parse(ok(safetensors(["plan", model, "--device-map", ...more])));
    assert.deepEqual(map("auto", "--max-memory", "0=1GiB,cpu=1GiB"), { "": 0 });
    assert.deepEqual(
      Object.values(map("sequential", "--max-memory", "0=1KB,cpu=2KB") as object).at(-1),
      "disk",
    );
    fails(["plan", model, "--device-map", "auto"], 2, /--device-map needs --max-memory/);
    fails(["plan", model, "--device-map", "auto", "--max-memory", "0=many"], 2, /Devices and sizes/);
  });

  it("finds the configuration on a web server, and reads headers only", async (test) => {
    const model = await writeModel(test);
    let bytes = 0;
    const server = createServer((request, response) => {
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
      let file: Buffer;
      try {
        file = readFileSync(join(model, basename(request.url!)));
      } catch {
        response.writeHead(404).end();
        return;
      }
      const start = Number(range?.[1] ?? 0);
      const end = Math.min(Number(range?.[2] ?? Number.POSITIVE_INFINITY) + 1, file.length);
      bytes += end - start;
      response.writeHead(206, { etag: '"1"', "content-range": `bytes ${start}-${end - 1}/${file.length}` });
      response.end(file.subarray(start, end));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    test.after(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;
    const remote = JSON.parse(ok(await runAsync(["plan", url, "--tp", "4", "--json"])));
    const local = JSON.parse(ok(safetensors(["plan", model, "--tp", "4", "--json"])));
    assert.deepEqual(remote.plan, local.plan);
    assert.ok(bytes > 0);
    const out = join(model, "../ranks");
    ok(await runAsync(["shard", url, "--tp", "2", "--out", out]));
    assert.deepEqual(namesIn(out), rankNames(2));
  });
});
