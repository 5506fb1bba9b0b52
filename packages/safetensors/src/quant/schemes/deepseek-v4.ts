import type { Scheme } from "../scheme.ts";
import { blockOf } from "./fp8.ts";
import { findPairs } from "./fp8-pairs.ts";

/**
 * DeepSeek-V4: `weight` of F8 with `scale`, exponents of two (F8_E8M0) for blocks of 128 by 128; weights of experts are
 * I8, each byte two F4, the first in the lower half, with an exponent for 32 inputs.
 */
export const DEEPSEEK_V4: Scheme = {
  name: "deepseek-v4",
  claims: ({ method, model }) => method === "fp8" && model.get("expert_dtype") !== undefined,
  find(finder) {
    findPairs(finder, {
      scheme: "deepseek-v4",
      scalesFor: (last) => (last === "weight" ? ["scale"] : []),
      block: finder.config?.method === "fp8" ? blockOf(finder.config) : undefined,
      accepts: ({ dtype }) => dtype === "F8_E8M0",
    });
  },
};
