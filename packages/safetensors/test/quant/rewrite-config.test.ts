import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { withMember } from "../../src/quant/json-text.ts";
import { denseConfig, withQuantizationConfig } from "../../src/quant/rewrite-config.ts";
import { raises } from "../support.ts";

describe("a text of JSON with a member changed", () => {
  it("keeps every other character", () => {
    const text = '{\n  "a": 1.0,\n  "b" : {"x": [1e-05, "}\\""] },\n  "c": true\n}\n';
    assert.equal(withMember(text, ["b"], undefined), '{\n  "a": 1.0,\n  "c": true\n}\n');
    assert.equal(withMember(text, ["c"], undefined), '{\n  "a": 1.0,\n  "b" : {"x": [1e-05, "}\\""] }\n}\n');
    assert.equal(
      withMember(text, ["b", "x"], undefined),
      '{\n  "a": 1.0,\n  "b" : {},\n  "c": true\n}\n'.replace("{}", "{ }"),
    );
    assert.equal(withMember(text, ["a"], '"one"'), text.replace("1.0", '"one"'));
    assert.equal(withMember(text, ["d"], "[]"), text.replace("true\n", 'true,\n  "d": []\n'));
    assert.equal(withMember(text, ["q", "x"], "1"), text);
    assert.equal(withMember("{ }", ["d"], "[]"), '{"d": []}');
  });

  it("means what the same change to the value means", () => {
    const key = fc.constantFrom("a", "b", '"', "__proto__", "ü", "\\");
    const object = fc.dictionary(key, fc.jsonValue({ maxDepth: 2 }));
    fc.assert(
      fc.property(
        object,
        key,
        fc.option(fc.jsonValue({ maxDepth: 1 })),
        fc.constantFrom(undefined, 2),
        (value, key, member, space) => {
          const changed = new Map(Object.entries(JSON.parse(JSON.stringify(value)) as object));
          if (member === null) changed.delete(key);
          else changed.set(key, JSON.parse(JSON.stringify(member)));
          const text = withMember(
            JSON.stringify(value, null, space),
            [key],
            member === null ? undefined : JSON.stringify(member),
          );
          assert.deepEqual(new Map(Object.entries(JSON.parse(text) as object)), changed);
        },
      ),
      { seed: 42, numRuns: 300 },
    );
  });

  it("is refused if it is no object", () => {
    assert.throws(() => withMember("[1]", ["a"], "1"), raises("INVALID_JSON", /no object/));
    assert.throws(() => withMember("{", ["a"], "1"), raises("INVALID_JSON", /not JSON/));
  });
});

describe("the configuration of a model", () => {
  const text =
    '{\n  "rope_theta": 10000.0,\n  "quantization_config": {"bits": 4},\n  "torch_dtype": "float16"\n}';

  it("tells of a dense checkpoint", () => {
    assert.equal(denseConfig(text, "BF16"), '{\n  "rope_theta": 10000.0,\n  "torch_dtype": "bfloat16"\n}');
    assert.equal(denseConfig(text), '{\n  "rope_theta": 10000.0,\n  "torch_dtype": "float16"\n}');
    assert.equal(
      denseConfig('{"text_config": {"dtype": "float16", "quantization_config": {}}}', "F32"),
      '{"text_config": {"dtype": "float32"}}',
    );
  });

  it("tells of a quantised checkpoint", () => {
    const config = JSON.parse(withQuantizationConfig(text, { quant_method: "fp8", list: [1] })) as Record<
      string,
      unknown
    >;
    assert.deepEqual(config, {
      rope_theta: 10000,
      torch_dtype: "float16",
      quantization_config: { quant_method: "fp8", list: [1] },
    });
    assert.ok(withQuantizationConfig(text, {}).startsWith('{\n  "rope_theta": 10000.0,\n'));
  });
});
