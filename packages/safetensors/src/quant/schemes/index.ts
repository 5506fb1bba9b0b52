import type { Scheme } from "../scheme.ts";
import { AWQ } from "./awq.ts";
import { BITNET } from "./bitnet.ts";
import { BITSANDBYTES } from "./bitsandbytes.ts";
import { COMFYUI } from "./comfyui.ts";
import { COMPRESSED_TENSORS } from "./compressed-tensors.ts";
import { DEEPSEEK_V4 } from "./deepseek-v4.ts";
import { FP8 } from "./fp8.ts";
import { GPTQ } from "./gptq.ts";
import { HQQ } from "./hqq.ts";
import { MISTRAL } from "./mistral.ts";
import { MLX } from "./mlx.ts";
import { MODELOPT } from "./modelopt.ts";
import { MXFP4 } from "./mxfp4.ts";
import { QUANTO } from "./quanto.ts";
import { REFUSED } from "./refused.ts";
import { TORCHAO } from "./torchao.ts";

/** All schemes that are known, in the order in which they look where no configuration says which it is. */
export const SCHEMES: readonly Scheme[] = [
  COMFYUI,
  TORCHAO,
  BITSANDBYTES,
  MXFP4,
  HQQ,
  QUANTO,
  MLX,
  BITNET,
  REFUSED,
  COMPRESSED_TENSORS,
  MODELOPT,
  MISTRAL,
  DEEPSEEK_V4,
  GPTQ,
  AWQ,
  FP8,
];
