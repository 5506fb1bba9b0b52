import assert from "node:assert/strict";
import { test } from "node:test";
import { safetensorsIndexName, safetensorsName } from "../../../src/node/convert/names.ts";
import { encodeIndex } from "../../../src/node/write/index-text.ts";

test("names of files are those of Python's converters", () => {
  for (const [torch, safetensors] of [
    ["pytorch_model.bin", "model.safetensors"],
    ["pytorch_model-00001-of-00002.bin", "model-00001-of-00002.safetensors"],
    ["pytorch_model.fp16.bin", "model.fp16.safetensors"],
    ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"],
    ["pytorch_models.bin", "pytorch_models.safetensors"],
    ["x.bin", "x.safetensors"],
    ["x.pt", "x.safetensors"],
    ["x.pth", "x.safetensors"],
    ["v1-5.ckpt", "v1-5.safetensors"],
    ["a.b.pt", "a.b.safetensors"],
    ["noextension", "noextension.safetensors"],
    ["x.pt.tmp", "x.pt.tmp.safetensors"],
  ] as const) {
    assert.equal(safetensorsName(torch), safetensors);
  }
});

test("the index is named after its files", () => {
  const empty = { folder: ".", files: ["pytorch_model-00001-of-00002.bin"] };
  const name = (file: string): string =>
    safetensorsIndexName({ ...empty, index: { file, files: [], weightMap: new Map(), metadata: {} } });
  assert.equal(name("pytorch_model.bin.index.json"), "model.safetensors.index.json");
  assert.equal(name("pytorch_model.bin.index.fp16.json"), "model.safetensors.index.fp16.json");
  assert.equal(name("other.bin.index.json"), "other.safetensors.index.json");
  assert.equal(name("weights.index.json"), "weights.safetensors.index.json");
  assert.equal(name("weights.json"), "weights.safetensors.index.json");
  assert.equal(safetensorsIndexName(empty), "model.safetensors.index.json");
  assert.equal(
    safetensorsIndexName({ folder: ".", files: ["w-00001-of-00002.pt"] }),
    "w.safetensors.index.json",
  );
});

test("the text of an index is what Python's json.dumps(…, indent=2, sort_keys=True) gives", () => {
  const metadata = JSON.parse('{"total_size": 12, "__proto__": {"b": [1, 2]}, "a\\nb": "c\\nd"}');
  const weightMap = new Map(["b", "10", "9", "__proto__", "\u{1f600}", "\uffff"].map((name) => [name, "f"]));
  const text = new TextDecoder().decode(encodeIndex(metadata, weightMap));
  assert.equal(
    text,
    `{
  "metadata": {
    "__proto__": {
      "b": [
        1,
        2
      ]
    },
    "a\\nb": "c\\nd",
    "total_size": 12
  },
  "weight_map": {
    "10": "f",
    "9": "f",
    "__proto__": "f",
    "b": "f",
    "\uffff": "f",
    "\u{1f600}": "f"
  }
}
`,
  );
  assert.equal(
    new TextDecoder().decode(encodeIndex({}, new Map())),
    '{\n  "metadata": {},\n  "weight_map": {}\n}\n',
  );
});
