import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openPath } from "safetensors.js/node";
import { namesIn, safetensors, temporaryFolder } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

const NAMES = [0, 1].flatMap((expert) =>
  ["w1", "w2", "w3"].map((name) => `layers.0.block_sparse_moe.experts.${expert}.${name}.weight`),
);

describe("safetensors transform", () => {
  it("rearranges with a recipe of its own, says what it did, and goes back", async (test) => {
    const folder = temporaryFolder(test);
    const [input, output, back] = ["in", "out", "back"].map((name) => join(folder, `${name}.safetensors`));
    writeHeader(input!, ...evenHeader([...NAMES, "layers.0.block_sparse_moe.gate.weight"], { format: "pt" }));
    const forth = safetensors(["transform", input!, output!, "--recipe", "mixtral-experts"]);
    assert.deepEqual([forth.code, forth.stderr], [0, ""]);
    assert.match(forth.stdout, /^transformed 3 tensors[\s\S]*7 tensors became 3; 0 stayed as they were/);
    await using checkpoint = await openPath(output!);
    assert.deepEqual(checkpoint.get("layers.0.mlp.experts.gate_up_proj").shape, [2, 4, 3]);
    assert.equal(checkpoint.metadata.get("format"), "pt");
    const reverse = safetensors([
      "transform",
      output!,
      back!,
      "--recipe",
      "mixtral-experts",
      "--reverse",
      "--json",
    ]);
    assert.equal(reverse.code, 0, reverse.stderr);
    const { steps, kept, files } = JSON.parse(reverse.stdout);
    assert.deepEqual([kept, steps.length, files[0].tensors], [0, 4, 7]);
  });

  it("takes a recipe from a file and variables from --set and --config; --dry-run writes nothing", (test) => {
    const folder = temporaryFolder(test);
    const path = (name: string): string => join(folder, name);
    writeHeader(path("in.safetensors"), ...evenHeader(["q", "k"]));
    const variables = [{ name: "heads", description: "how many" }, { name: "more" }];
    const ops = [{ op: "reshape", shape: ["{heads}", "{more}", 3] }];
    const recipe = { version: 1, variables, steps: [{ from: ["{x}"], to: ["new.{x}"], ops }] };
    writeFileSync(path("recipe.json"), JSON.stringify(recipe));
    writeFileSync(path("config.json"), JSON.stringify({ heads: 9, more: 2, other: 0.5, name: "x" }));
    const args = [
      "transform",
      path("in.safetensors"),
      path("out.safetensors"),
      "--recipe",
      path("recipe.json"),
    ];
    const without = safetensors(args);
    assert.equal(without.code, 2);
    assert.match(
      without.stderr,
      /UNSUPPORTED: steps\[0\]\.ops\[0\]: the recipe needs a value for "heads": how many; give/,
    );
    const found = safetensors([...args, "--config", path("config.json"), "--set", "heads=1", "--dry-run"]);
    assert.deepEqual([found.code, found.stderr], [0, ""]);
    assert.match(found.stdout, /^would have transformed 2 tensors/);
    assert.deepEqual(namesIn(folder), ["config.json", "in.safetensors", "recipe.json"]);
  });

  it("refuses what is no recipe, with the place in it, and wrong usage", (test) => {
    const folder = temporaryFolder(test);
    const recipe = join(folder, "recipe.json");
    writeFileSync(recipe, '{"version":1,"steps":[{"from":["a"],"to":["b"],"axis":0}]}');
    const invalid = safetensors(["transform", "in.safetensors", "out", "--recipe", recipe]);
    assert.equal(invalid.code, 1);
    assert.match(invalid.stderr, /recipe\.json: the recipe is not valid: steps\[0\]\.axis is not known here/);
    const missing = safetensors(["transform", "in.safetensors", "out", "--recipe", "melt"]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /there is no file melt; the recipes with names are falcon-qkv, /);
    assert.equal(safetensors(["transform", "in.safetensors"]).code, 2);
  });

  it("lists its recipes", () => {
    const { code, stdout } = safetensors(["transform", "--list"]);
    assert.equal(code, 0);
    assert.match(stdout, /qwen-experts +Qwen/);
    assert.match(stdout, /--set num_attention_heads=…: heads of the queries/);
  });
});
