import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { elementCount } from "../../dtype/dtype.ts";
import { quote } from "../../errors.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { along, hasShape, partOf, shown } from "./pieces.ts";
import { E2M1, ownBytes, scalesOf } from "./scales.ts";

/** Elements that share a scale (OCP Microscaling Formats 1.0), and the bytes that hold them. */
const BLOCK = 32;
const BLOCK_BYTES = 16;

/**
 * MXFP4 as gpt-oss has it: `…experts.gate_up_proj_blocks`, U8 `[experts, rows, blocks, 16]`, and `…_scales`, U8
 * `[experts, rows, blocks]`; in OpenAI's own files `block.N.mlp.mlp1_weight.blocks` and `.scales`.
 *
 * `w[e, r, 32 b + 2 j + h] = E2M1(half h of byte j, the lower first) * 2^(scale - 127)`; a scale of 255 is NaN.
 *
 * Blocks lie along the inputs: `[experts, outputs, inputs]`. The dense weight is so under OpenAI's names; under those of
 * transformers, which swaps the last two axes after it has made it dense, it is `[experts, inputs, outputs]`.
 */
export const MXFP4: Scheme = {
  name: "mxfp4",
  claims: ({ method }) => method === "mxfp4",
  find(finder) {
    for (const [module, tensors] of finder.modules()) {
      for (const [last, blocks] of tensors) {
        if (blocks.dtype !== "U8" || blocks.shape.at(-1) !== BLOCK_BYTES) continue;
        if (last === "blocks") findWeight(finder, module, blocks, `${module}.scales`, false);
        else if (last.endsWith("_blocks")) {
          const name = `${module}.${last.slice(0, -"_blocks".length)}`;
          findWeight(finder, name, blocks, `${name}_scales`, true);
        }
      }
    }
  },
};

function findWeight(
  finder: Finder,
  name: string,
  blocks: TensorHandle,
  scalesName: string,
  isSwapped: boolean,
): void {
  const scales = finder.tensor(scalesName);
  const rows = blocks.shape.slice(0, -2);
  const count = blocks.shape.at(-2);
  const isFitting = scales && ["U8", "F8_E8M0"].includes(scales.dtype) && count !== undefined;
  if (!isFitting || rows.length === 0 || !hasShape(scales, [...rows, count])) {
    const there = `${quote(scalesName)} is ${shown(scales)}`;
    const expected = `U8 [${blocks.shape.slice(0, -1)}]`;
    finder.problem(blocks.name, `is ${shown(blocks)}, ${there}, expected ${expected}; it is left as it is`);
    return;
  }
  const links = [...rows.map((_, axis) => along(axis)), along(rows.length, BLOCK)];
  finder.add({
    name,
    scheme: "mxfp4",
    shape: [...rows, count * BLOCK],
    // Only experts are stacked, and swapped.
    ...(isSwapped && rows.length > 1 && { transposed: true }),
    bits: 4,
    group: [BLOCK],
    symmetric: true,
    notes: isSwapped ? ["dense as inputs before outputs"] : [],
    dense: "BF16",
    parts: [partOf("blocks", blocks, [...links, null]), partOf("scales", scales, links)],
    decode(parts, shape) {
      return {
        kernel: "scaled-nibbles",
        rows: elementCount(shape.slice(0, -1)),
        columns: shape.at(-1)!,
        codes: ownBytes(parts.get("blocks")!),
        highFirst: false,
        table: E2M1,
        scales: scalesOf(parts.get("scales")!),
        block: BLOCK,
      };
    },
  });
}
