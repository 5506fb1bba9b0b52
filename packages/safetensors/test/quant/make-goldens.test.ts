import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import type { FloatDtype } from "../../src/dtype/cast.ts";
import { type QuantizerOptions, quantizerOf } from "../../src/quant/make/quantizer-of.ts";
import type { PartData } from "../../src/quant/weight.ts";
import { fixture } from "../fixtures.ts";

interface Expected {
  readonly scheme: string;
  readonly options: QuantizerOptions;
  readonly digests: Readonly<Record<string, string>>;
}

const expected: Expected[] = JSON.parse(new TextDecoder().decode(fixture("quant/make/expected.json")));

/** Of each part, in the order of names, a line that describes it, and its bytes. */
function digest(parts: ReadonlyMap<string, PartData>): string {
  const hash = createHash("sha256");
  for (const role of [...parts.keys()].sort()) {
    const { dtype, shape, bytes } = parts.get(role)!;
    hash.update(`${role}${dtype}[${shape}]\n`).update(bytes);
  }
  return hash.digest("hex");
}

describe("what the originals make of weights", async () => {
  const weights = new Map<string, { values: Float32Array; shape: readonly number[]; dtype: FloatDtype }>();
  for (const name of ["float32", "bfloat16", "float16"]) {
    const tensor = (await open(fixture(`quant/make/${name}.safetensors`))).get(name);
    weights.set(name, {
      values: await tensor.toFloat32(),
      shape: tensor.shape,
      dtype: tensor.dtype as FloatDtype,
    });
  }

  for (const { scheme, options, digests } of expected) {
    it(`${scheme} ${JSON.stringify(options)}`, () => {
      for (const [name, sha256] of Object.entries(digests)) {
        const { values, shape, dtype } = weights.get(name)!;
        const before = values.slice();
        const parts = quantizerOf(scheme, options).quantize(values, shape, dtype);
        assert.equal(digest(parts), sha256, name);
        assert.deepEqual(values, before, "the values are not changed");
      }
    });
  }
});
