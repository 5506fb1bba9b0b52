import type { Scheme } from "../scheme.ts";
import { find4Bit } from "./bitsandbytes-4bit.ts";
import { findInt8 } from "./bitsandbytes-int8.ts";

/** bitsandbytes: NF4 and FP4 (`load_in_4bit`), and 8-bit integers (LLM.int8). */
export const BITSANDBYTES: Scheme = {
  name: "bitsandbytes",
  claims: ({ method }) => method === "bitsandbytes",
  async find(finder) {
    for (const [module, tensors] of finder.modules()) {
      if (tensors.has("SCB")) await findInt8(finder, module, tensors);
      for (const type of ["nf4", "fp4"] as const) {
        const state = tensors.get(`bitsandbytes__${type}`);
        if (state && module.endsWith(".quant_state"))
          await find4Bit(finder, module.slice(0, -".quant_state".length), type, state);
      }
    }
  },
};
