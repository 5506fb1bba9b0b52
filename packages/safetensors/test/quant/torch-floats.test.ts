import assert from "node:assert/strict";
import { it } from "node:test";
import { torchFloat, torchName } from "../../src/quant/torch-floats.ts";

it("floats are known by PyTorch's names, with its prefix or without", () => {
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    const name = torchName(dtype)!;
    assert.deepEqual([torchFloat(name), torchFloat(`torch.${name}`)], [dtype, dtype]);
  }
  assert.equal(torchFloat("bfloat16"), "BF16");
});

it("no weight is computed in other floats", () => {
  assert.equal(torchName("F64"), "float64");
  assert.equal(torchName("F8_E4M3"), undefined);
  for (const name of ["float64", "float8_e4m3fn", "torch.torch.float32", undefined, 32])
    assert.equal(torchFloat(name), undefined);
});
