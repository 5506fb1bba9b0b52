import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HandMade } from "../support.ts";
import { raises } from "../support.ts";
import { any, assertDense, assertHostile, assertPieces, casesOf, foundAmong, shown } from "./fp8-cases.ts";
import { valuesOf } from "./gptq-layers.ts";

const cases = await casesOf("ct");
const shapeOf = (...numbers: number[]): HandMade => ({
  dtype: "I64",
  shape: [numbers.length],
  data: new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer),
});
const group = (targets: unknown, weights: object, more: object = {}) => ({ targets, weights, ...more });
const config = (groups: object, more: object = {}) => ({
  "config.json": {
    quantization_config: { quant_method: "compressed-tensors", config_groups: groups, ...more },
  },
});
const packed = (module: string, size: number, words: number, groups: number) => ({
  [`${module}.weight_packed`]: any("I32", 8, words),
  [`${module}.weight_scale`]: any("BF16", 8, groups),
  [`${module}.weight_shape`]: shapeOf(8, size),
});
const int4 = group(["Linear"], { num_bits: 4, group_size: 32, strategy: "group", symmetric: true });

describe("weights of compressed-tensors", () => {
  for (const one of cases) it(`are what it makes of them: ${one.title}`, () => assertDense(one));

  it("are cut with their parts, which are a weight again", async () => {
    for (const one of cases) await assertPieces(one, 2);
  });

  it("are not cut within words, groups and packed zero points", async () => {
    const tensors = { ...packed("l", 64, 8, 2), "l.weight_zero_point": any("I32", 1, 2) };
    const found = await foundAmong(tensors, config({ a: int4 }));
    const weight = found.weights.get("l.weight")!;
    assert.equal(weight.symmetric, false);
    const refuses = async (axis: number, stop: number, tensor: string) => {
      const read = valuesOf(found.checkpoint, weight, [{ axis, ranges: [{ start: 0, stop }] }]);
      await assert.rejects(read, raises("INVALID_SLICE", /does not lie on multiples/, { tensor }));
    };
    await refuses(1, 4, "l.weight_packed");
    await refuses(1, 8, "l.weight_scale");
    await refuses(0, 4, "l.weight_zero_point");
  });

  it("are of the group that names their module, else of the one of its class", async () => {
    const groups = {
      a: group(["Linear"], { num_bits: 4, group_size: 32 }),
      b: group(["re:.*\\.mlp\\..*", "exact.one"], { num_bits: 8, group_size: 64 }),
      c: group(["Embedding"], { num_bits: 2, group_size: 64 }),
    };
    const tensors = {
      ...packed("m.attn.q", 64, 8, 2),
      ...packed("m.mlp.up", 64, 16, 1),
      ...packed("exact.one", 64, 16, 1),
      ...packed("m.embed_tokens", 64, 4, 1),
    };
    const found = await foundAmong(tensors, config(groups));
    assert.equal(shown(found), "");
    const bits = [...found.weights.values()].map((weight) => `${weight.name} ${weight.bits}`);
    assert.deepEqual(bits, [
      "m.attn.q.weight 4",
      "m.mlp.up.weight 8",
      "exact.one.weight 8",
      "m.embed_tokens.weight 2",
    ]);
  });

  it("do not wait for patterns that take for ever, and say which are not known", async () => {
    const targets = ["re:(a+)+$", "re:(x|x)*y", "re:(", "re:(?!x)", 7, `re:${"a".repeat(2000)}`];
    const found = await foundAmong(
      packed("a".repeat(500), 64, 8, 2),
      config({ a: group(targets, int4.weights) }),
    );
    const text = shown(found);
    assert.equal(found.problems.length, 4, text);
    assert.match(
      text,
      /config_groups\.a\.targets has an entry that is no regular expression that is known here/,
    );
    assert.match(text, /is longer than 1000 characters/);
    assert.match(text, /is no text/);
  });

  it("are read though their module is to be ignored, which is said", async () => {
    const found = await foundAmong(packed("lm_head", 64, 8, 2), config({ a: int4 }, { ignore: ["lm_head"] }));
    assert.match(
      shown(found),
      /^lm_head\.weight is stored as compressed-tensors, and .*ignore lists its module/,
    );
    assert.equal(found.weights.size, 1);
  });

  it("are of the type that the configuration says, and with inputs as they are, or it is said", async () => {
    const float = { a: group(["Linear"], { num_bits: 4, type: "float" }) };
    const other = await foundAmong(packed("l", 64, 8, 2), config(float));
    assert.match(shown(other), /^l\.weight_packed is I32, and the configuration says .* type float/);
    const turned = config({ a: int4 }, { transform_config: { config_groups: { R1: {} } } });
    assert.match(shown(await foundAmong(packed("l", 64, 8, 2), turned)), /transform_config says that inputs/);
  });

  it("need no configuration where the shapes say all", async () => {
    const found = await foundAmong({
      ...packed("a", 128, 16, 4),
      "b.weight": any("I8", 8, 12),
      "b.weight_scale": any("F32", 8, 1),
      "c.weight_packed": any("U8", 8, 16),
      "c.weight_scale": any("F8_E4M3", 8, 2),
      "c.weight_global_scale": any("F32", 1),
    });
    assert.equal(shown(found), "");
    const known = [...found.weights.values()].map(({ name, bits, group }) => `${name} ${bits} ${group}`);
    assert.deepEqual(known, ["a.weight 4 32", "b.weight 8 12", "c.weight 4 16"]);
  });

  it("do not guess how codes lie in words", async () => {
    const channel = { a: group(["Linear"], { num_bits: 3, strategy: "channel" }) };
    const both = await foundAmong(packed("l", 40, 4, 1), config(channel));
    assert.match(shown(both), /4 words a row for 40 columns may be 3 bits or 3 bits \(10 a word\)/);
    assert.equal(both.weights.size, 0);
    const layoutOf = async (version: string) =>
      (await foundAmong(packed("l", 40, 4, 1), config(channel, { version }))).weights.get("l.weight")?.notes;
    assert.deepEqual(await layoutOf("0.17.1"), ["10 codes a word, as before version 0.18"]);
    assert.deepEqual(await layoutOf("0.18.0.a20260808"), []);
    const old = await foundAmong(packed("l", 64, 7, 1), config(channel));
    assert.deepEqual(old.weights.get("l.weight")?.notes, ["10 codes a word, as before version 0.18"]);
    const dense = await foundAmong(packed("l", 64, 6, 1), config(channel));
    assert.deepEqual(dense.weights.get("l.weight")?.notes, []);
  });

  it("are problems where things do not fit, and stay as they are stored", async () => {
    const good = packed("l", 64, 8, 2);
    const without = (name: string) =>
      Object.fromEntries(Object.entries(good).filter(([one]) => one !== name));
    const symmetric = (value: boolean) =>
      config({ a: group(["Linear"], { ...int4.weights, symmetric: value }) });
    const wrong: [RegExp, Record<string, HandMade>, object?][] = [
      [/no weight_scale beside it/, without("l.weight_scale")],
      [/expected I32 of shape \[out, words\]/, { ...good, "l.weight_packed": any("I32", 8, 8, 1) }],
      [
        /7 words a row for 64 columns, expected 8 for 4 bits/,
        { ...good, "l.weight_packed": any("I32", 8, 7) },
      ],
      [
        /"l.weight_scale" of shape \[7,2\] do not fit \[8,64\]/,
        { ...good, "l.weight_scale": any("F16", 7, 2) },
      ],
      [/expected I32 of shape \[1,2\] or I8/, { ...good, "l.weight_zero_point": any("I32", 2, 2) }],
      [/8 words a row for 72 columns, expected 9/, { ...good, "l.weight_g_idx": any("I32", 72) }],
      [/has no weight_zero_point/, good, symmetric(false)],
      [/"l.weight_shape" is I64 of shape \[3\], expected/, { ...good, "l.weight_shape": shapeOf(1, 8, 64) }],
      [
        /of shape \[4,2\] do not fit .* for blocks of 16 by 16/,
        { "l.weight": any("F8_E4M3", 64, 64), "l.weight_scale": any("F32", 4, 2) },
        config({ a: group(["Linear"], { strategy: "block", block_structure: [16, 16] }) }),
      ],
      [/no weight_shape beside it/, without("l.weight_shape"), {}],
      [
        /"l.weight_shape" says \[9,64\], expected \[8, columns\]/,
        { ...good, "l.weight_shape": shapeOf(9, 64) },
        {},
      ],
      [/expected I32 \(integers\), or U8/, { ...good, "l.weight_packed": any("I16", 8, 8) }],
    ];
    for (const [text, tensors, configs = config({ a: int4 })] of wrong) {
      const found = await foundAmong(tensors, configs as Record<string, unknown>);
      assert.match(shown(found), text);
      assert.equal(found.weights.size, 0, `${text}`);
    }
  });

  it("are refused by name in formats that nothing decompresses", async () => {
    const marlin = {
      "l.weight_packed": any("I32", 4, 8),
      "l.scale_packed": any("F16", 1, 8),
      "l.meta": any("I16", 4, 2),
    };
    assert.equal(shown(await foundAmong(marlin, config({}))), "compressed-tensors (marlin-24)");
    const sparse = { "l.weight.compressed": any("BF16", 7), "l.weight.bitmask": any("U8", 4, 1) };
    const of24 = { ...sparse, "l.weight.shape": shapeOf(4, 8) };
    assert.equal(shown(await foundAmong(of24, config({}))), "compressed-tensors (sparse-24-bitmask)");
    const found = await foundAmong({ ...of24, "l.weight.row_offsets": any("I64", 4) }, config({}));
    assert.equal(shown(found), "compressed-tensors (sparse-bitmask)");
    assert.deepEqual(found.unsupported[0]!.names.length, 4);
  });

  it("refuse columns of groups that are not there when they are read", async () => {
    const order = Int32Array.from({ length: 64 }, (_, at) => at);
    const index = { dtype: "I32", shape: [64], data: new Uint8Array(order.buffer) };
    const found = await foundAmong(
      { ...packed("l", 64, 8, 2), "l.weight_g_idx": index },
      config({ a: int4 }),
    );
    const read = valuesOf(found.checkpoint, found.weights.get("l.weight")!);
    await assert.rejects(read, raises("INVALID_TENSOR", /group 2 for column 2, there are 2 groups/));
  });

  it("are a problem if their order is missing, which the configuration lets expect", async () => {
    const ordered = group(["Linear"], { num_bits: 4, group_size: 32, actorder: "group" });
    const found = await foundAmong(packed("l", 64, 8, 2), config({ a: ordered }));
    assert.equal(found.weights.size, 0);
    assert.match(found.problems[0]!.text, /has no weight_g_idx/);
  });

  it("are nothing but problems whatever the headers say", async () => {
    for (const one of cases) await assertHostile(one, 2);
  });
});
