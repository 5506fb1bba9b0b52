import { quote, SafetensorsError } from "../../errors.ts";
import { type MxScaleRule, mxfp4Quantizer, nvfp4Quantizer } from "./fp4.ts";
import { fp8Block, fp8Dynamic, fp8Tensor } from "./fp8.ts";
import { awqQuantizer, compressedTensorsQuantizer, gptqQuantizer, type IntegerFormat } from "./integers.ts";
import { nf4Quantizer } from "./nf4.ts";
import type { WeightQuantizer } from "./quantizer.ts";

/** What is chosen beside the name of a scheme. */
export interface QuantizerOptions {
  /** For `gptq` and `ct`: whether zero points lie in the middle; true unless given, or the name ends in `-asym`. */
  readonly symmetric?: boolean | undefined;
  /** For `mxfp4`; `even`, which is the original's, unless given. */
  readonly scaleRule?: MxScaleRule | undefined;
  /** For `nvfp4`: that of weights which are run as one, by `nvfp4GlobalScale`. */
  readonly globalScale?: number | undefined;
}

/** A scheme whose name states bits and group, taken apart. */
export interface IntegerName extends IntegerFormat {
  readonly family: "gptq" | "awq" | "ct";
}

/** Names of schemes that have no numbers in them, and forms of those that have. */
export const SCHEME_NAMES: readonly string[] = [
  "fp8-dynamic",
  "fp8-tensor",
  "fp8-block",
  "mxfp4",
  "nvfp4",
  "nf4",
  "gptq-int<2|3|4|8>[-g<group>][-asym]",
  "awq-int4[-g<group>]",
  "ct-int<2-8>[-g<group>][-asym]",
  "w<2-8>a16",
];

/** Bits that a family has. */
const BITS: { readonly [F in IntegerName["family"]]: readonly number[] } = {
  gptq: [2, 3, 4, 8],
  awq: [4],
  ct: [2, 3, 4, 5, 6, 7, 8],
};

/**
 * The quantiser of this name: `gptq-int4-g128`, `ct-int8`, `nvfp4`. Without a group the whole row is one; `w4a16` is the name
 * that vLLM's tools have for `ct-int4-g128`.
 *
 * @throws `UNSUPPORTED` for a name that is not known, and for options that the scheme does not have
 */
export function quantizerOf(name: string, options: QuantizerOptions = {}): WeightQuantizer {
  const { symmetric, scaleRule, globalScale } = options;
  const integers = integerNameOf(name, symmetric);
  const isIntegers = integers !== undefined && integers.family !== "awq";
  refuse(name, "symmetric", symmetric !== undefined && !isIntegers);
  refuse(name, "scaleRule", scaleRule !== undefined && name !== "mxfp4");
  refuse(name, "globalScale", globalScale !== undefined && name !== "nvfp4");
  if (integers?.family === "gptq") return gptqQuantizer(integers);
  if (integers?.family === "awq") return awqQuantizer(integers);
  if (integers) return compressedTensorsQuantizer(integers);
  if (name === "fp8-dynamic") return fp8Dynamic;
  if (name === "fp8-tensor") return fp8Tensor;
  if (name === "fp8-block") return fp8Block;
  if (name === "mxfp4") return mxfp4Quantizer(scaleRule);
  if (name === "nvfp4") return nvfp4Quantizer(globalScale);
  if (name === "nf4") return nf4Quantizer;
  const text = `${quote(name)} is no scheme to quantise in: there are ${SCHEME_NAMES.join(", ")}`;
  throw new SafetensorsError("UNSUPPORTED", text);
}

/** Takes apart a name with bits and a group; nothing if it is none, or its family does not have these bits. */
export function integerNameOf(name: string, symmetric?: boolean): IntegerName | undefined {
  const short = /^w([2-8])a16(-asym)?$/.exec(name);
  const [, family = "ct", bits, group, asymmetric] = short
    ? [short[0], "ct", short[1], "128", short[2]]
    : (/^(gptq|awq|ct)-int([2-8])(?:-g([1-9]\d{0,5}))?(-asym)?$/.exec(name) ?? []);
  if (bits === undefined) return undefined;
  const known = family as IntegerName["family"];
  if (!BITS[known].includes(Number(bits)) || (known === "awq" && asymmetric)) return undefined;
  return {
    family: known,
    bits: Number(bits),
    group: group === undefined ? -1 : Number(group),
    symmetric: known !== "awq" && (symmetric ?? !asymmetric),
  };
}

function refuse(name: string, option: string, isWrong: boolean): void {
  if (isWrong) throw new SafetensorsError("UNSUPPORTED", `${quote(name)} has no option "${option}"`);
}
