import type { QuantConfig } from "../config.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { isCompressedTensors, isModelOpt } from "./claims.ts";
import { findPairs, reportLeft } from "./fp8-pairs.ts";
import type { Block } from "./scale-grid.ts";
import { isByteWeight } from "./scaled-bytes.ts";

const METHODS: ReadonlySet<string | undefined> = new Set(["fp8", "fbgemm_fp8"]);

/**
 * Weights of F8 with scales for all, for each row or for blocks: `weight` and `weight_scale` (vLLM, fbgemm),
 * `weight_scale_inv` (DeepSeek-V3, Transformers; a factor in spite of its name), and experts that lie in one tensor,
 * `gate_up_proj` and `gate_up_proj_scale_inv` (Transformers) or `gate_up_proj_scale` (Llama 4).
 */
export const FP8: Scheme = {
  name: "fp8",
  claims: ({ method }) => METHODS.has(method),
  find(finder) {
    const { config } = finder;
    // What their own schemes have not taken does not fit them: then it is of no other.
    if (config && (isCompressedTensors(config) || isModelOpt(config))) return;
    const isClaimed = config !== undefined && FP8.claims(config);
    const block = isClaimed ? blockOf(config) : undefined;
    const scalesFor = (last: string): readonly string[] => [
      `${last}_scale_inv`,
      `${last}_scales_inv`,
      `${last}_scale`,
    ];
    const misfits = findPairs(finder, { scheme: "fp8", scalesFor, block });
    if (!isClaimed) return;
    reportLeft(finder, misfits, ({ dtype }) => isByteWeight(dtype) && dtype !== "I8");
    report(finder, config, block);
  },
};

/** `weight_block_size` of a configuration, if it is one. */
export function blockOf(config: QuantConfig | undefined): Block | undefined {
  const said = config?.fields.get("weight_block_size");
  const [rows, columns] = Array.isArray(said) && said.length === 2 ? (said as unknown[]) : [];
  return isSize(rows) && isSize(columns) ? [rows, columns] : undefined;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/** Says what of the configuration makes no sense, and what it lets expect that is not there. */
function report(finder: Finder, { fields, place }: QuantConfig, block: Block | undefined): void {
  if (!block && (fields.get("weight_block_size") ?? null) !== null)
    finder.problem(
      `${place}: weight_block_size`,
      "is no pair of positive integers: the shapes have to say how large a block is",
    );
  for (const [, tensors] of finder.modules()) {
    const scale = tensors.get("weight_scale_inv");
    const weight = tensors.get("weight");
    if (scale && !weight?.dtype.startsWith("F8"))
      finder.problem(
        scale.name,
        `belongs to ${weight ? `a weight of ${weight.dtype}` : "no weight"}, expected one of F8: it stays as it is stored`,
      );
  }
}
