import type { FloatDtype } from "../../dtype/cast.ts";
import { elementCount } from "../../dtype/dtype.ts";
import type { Fields } from "../config.ts";
import { torchFloat } from "../torch-floats.ts";
import { shapeIn } from "./stated-json.ts";

/** What the JSON of a 4-bit weight states. */
export interface State4Bit {
  readonly blocksize: number;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  /** How the scales are quantised, if they are. */
  readonly nested?: { readonly blocksize: number; readonly offset: number };
}

/** Block sizes that bitsandbytes has. */
const BLOCKSIZES: readonly unknown[] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/** The state of a 4-bit weight out of its JSON, or what is wrong with it. */
export function stateOf(fields: Fields, type: "nf4" | "fp4"): State4Bit | string {
  const [quantType, blocksize] = [fields.get("quant_type"), fields.get("blocksize")];
  const dtype = torchFloat(fields.get("dtype"));
  const shape = shapeIn(fields.get("shape"));
  if (quantType !== type) return `states another quant_type than its own name, ${type}`;
  if (!BLOCKSIZES.includes(blocksize)) return `states a blocksize that is none of ${BLOCKSIZES.join(", ")}`;
  if (!dtype) return "states a dtype that is none of float32, float16, bfloat16";
  if (!shape || shape.length === 0 || elementCount(shape) === 0) return "states no shape with elements";
  const state = { blocksize: blocksize as number, dtype, shape };
  if (!fields.has("nested_blocksize")) return state;
  const [nested, offset] = [fields.get("nested_blocksize"), fields.get("nested_offset")];
  if (!BLOCKSIZES.includes(nested) || typeof offset !== "number")
    return "states scales that are quantised, but not their blocksize and offset";
  return { ...state, nested: { blocksize: nested as number, offset: Math.fround(offset) } };
}
