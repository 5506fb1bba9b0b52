import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { groupAliases, openTorch, type TorchOptions } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";

interface Reading {
  readonly options: TorchOptions;
  readonly container: string;
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly sha256: string;
  }[];
}

/** What PyTorch itself makes of each file; see interop/make_torch_kinds.py. */
const EXPECTED: Readonly<Record<string, { readonly readings: readonly Reading[] }>> = JSON.parse(
  new TextDecoder().decode(fixture("torch/expected-kinds.json")),
);

const open = (file: string, options: TorchOptions = {}) =>
  openTorch(fromBytes(fixture(`torch/kinds/${file}`)), options);

for (const [file, { readings }] of Object.entries(EXPECTED)) {
  for (const { options, container, tensors } of readings) {
    test(`${file} with ${JSON.stringify(options)} holds what PyTorch makes of it`, async () => {
      const checkpoint = await open(file, options);
      const found = await Promise.all(
        Array.from(checkpoint, async (tensor) => {
          const bytes = await tensor.bytes();
          assert.equal(bytes.length, tensor.byteLength);
          const sha256 = createHash("sha256").update(bytes).digest("hex");
          return { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, sha256 };
        }),
      );
      const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
      assert.deepEqual(found.sort(byName), tensors.toSorted(byName));
      assert.equal(checkpoint.report.container, container);
    });
  }
}

test("tensors that are the same are seen to be one, also where they are computed", async () => {
  const { aliases } = groupAliases(await open("lazy-views.pt"));
  assert.deepEqual([...aliases], [["tied", "conj"]]);
  const module = groupAliases(await open("whole-module.pt"));
  assert.deepEqual([...module.aliases], [["lm_head.weight", "embed.weight"]]);
});

test("what safetensors cannot hold is refused by name, with the option that takes it", async () => {
  const refusals = { "quantized.pt": "quantized", "sparse.pt": "sparse", "complex-numbers.pt": "complex128" };
  for (const [file, option] of Object.entries(refusals)) {
    await assert.rejects(
      open(file),
      raises("UNSUPPORTED", new RegExp(`^UNSUPPORTED: tensor ".*" is .*option ${option} takes`)),
    );
    const wrong = { [option]: "all" } as TorchOptions;
    await assert.rejects(open(file, wrong), /the option .* cannot be "all"/);
  }
});
