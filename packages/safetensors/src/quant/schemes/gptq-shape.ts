import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import type { ModuleTensors } from "../scheme.ts";
import type { GptqConfig, GptqSettings } from "./gptq-config.ts";
import { scalesDtype } from "./gptq-parts.ts";
import { hasPlanes } from "./gptq-words.ts";

/** A weight of GPTQ, as far as shapes and configuration say it: all sizes fit each other. */
export interface GptqShape {
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  /** Inputs of a group, at most all. */
  readonly group: number;
  readonly groups: number;
  /** Whether codes lie in planes, each 32 on their own. */
  readonly isPlanar: boolean;
  readonly actOrder: boolean;
  readonly symmetric: boolean | undefined;
  readonly dense: FloatDtype;
  readonly codes: TensorHandle;
  readonly zeros: TensorHandle;
  readonly scales: TensorHandle;
  readonly groupIndex: TensorHandle | undefined;
}

/** Sizes of groups that are in use: which one it is can be told from the number of groups. */
const USUAL_GROUPS = [16, 32, 64, 128, 256, 512, 1024] as const;

/**
 * What the tensors of a module are together, as GPTQ has them.
 *
 * @returns what does not fit, as a text, if something does not
 */
export function gptqShapeOf(
  tensors: ModuleTensors,
  settings: GptqSettings,
  { format, isAutoRound, place }: GptqConfig,
): GptqShape | string {
  const [codes, zeros, scales] = ["qweight", "qzeros", "scales"].map((name) => tensors.get(name));
  const groupIndex = tensors.get("g_idx");
  if (!codes || !scales) return "scales are missing, without which there are no values";
  if (!zeros) return "qzeros are missing, without which there are no values";
  if (!zeros.is("I32")) return `qzeros are ${zeros.dtype}, expected I32`;
  const dtype = scalesDtype(scales);
  if (typeof dtype === "string") return dtype;
  const [height, rows] = codes.shape as [number, number];
  const groups = scales.shape[0]!;
  if (zeros.shape.length !== 2 || zeros.shape[0] !== groups)
    return `qzeros have the shape [${zeros.shape}], expected one row for each of ${groups} groups of the scales`;
  if (groupIndex && !(groupIndex.is("I32") && groupIndex.shape.length === 1))
    return `g_idx is ${groupIndex.dtype} of shape [${groupIndex.shape}], expected I32 for each input`;
  if (height === 0 || rows === 0 || groups === 0)
    return `qweight has the shape [${codes.shape}], nothing is in it`;

  const known = groupIndex?.shape[0];
  const fits = (bits: number): boolean => {
    if (zeros.shape[1] !== Math.ceil((rows * bits) / 32)) return false;
    return known === undefined
      ? Number.isInteger((height * 32) / bits)
      : height === Math.ceil((known * bits) / 32);
  };
  const possible = [2, 3, 4, 5, 6, 7, 8].filter(fits);
  const bits = settings.bits ?? (possible.length === 1 ? possible[0]! : undefined);
  const shapes = `qweight [${codes.shape}], qzeros [${zeros.shape}]${known === undefined ? "" : `, g_idx [${known}]`}`;
  if (bits === undefined)
    return `no configuration says how many bits a code has, and the shapes do not: ${shapes}`;
  if (!possible.includes(bits)) {
    const others =
      possible.length > 0 ? `they fit ${possible.join(" or ")} bits` : "they fit no number of bits";
    return `${place} says ${bits} bits, but the shapes do not fit: ${shapes}; ${others}`;
  }
  const columns = known ?? (height * 32) / bits;
  const isPlanar = hasPlanes(bits) && (format === "gptq_p" || (bits > 4 && !isAutoRound));
  if (isPlanar && (rows % 32 !== 0 || columns % 32 !== 0))
    return `codes of ${bits} bits lie in planes of 32, which [${rows}, ${columns}] is no multiple of`;

  if (!groupIndex && settings.actOrder)
    return `${place} says desc_act, but there is no g_idx that says which group an input is of`;
  const actOrder = groupIndex !== undefined && settings.actOrder !== false;
  const group = groupOf(settings.group, columns, groups);
  if (group === undefined)
    return `no configuration says the size of a group, and ${groups} groups of ${columns} inputs do not`;
  const expected = Math.ceil(columns / group);
  // A part of a larger weight keeps all scales if its groups are not of neighbours.
  if (expected !== groups && !(actOrder && expected < groups))
    return `${place} says groups of ${settings.group}, which are ${expected} for ${columns} inputs, but scales have the shape [${scales.shape}]`;
  const { symmetric } = settings;
  const { dense } = dtype;
  return {
    rows,
    columns,
    bits,
    group,
    groups,
    isPlanar,
    actOrder,
    symmetric,
    dense,
    codes,
    zeros,
    scales,
    groupIndex,
  };
}

function groupOf(said: number | undefined, columns: number, groups: number): number | undefined {
  if (said !== undefined) return said < 0 ? columns : Math.min(said, columns);
  if (groups === 1) return columns;
  const usual = USUAL_GROUPS.find((size) => Math.ceil(columns / size) === groups);
  return usual ?? (columns % groups === 0 ? columns / groups : undefined);
}
