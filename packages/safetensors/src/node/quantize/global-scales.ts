import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { nvfp4GlobalScale } from "../../quant/make/fp4.ts";
import { sharesScale } from "../../quant/make/skip.ts";
import type { QuantizeWeightsOptions } from "./quantize-weights.ts";

/**
 * NVFP4's global scales of weights that are run as one (q, k and v; gate and up), which must be the same. These are read once
 * more for it; weights that are alone are left to the scheme.
 */
export async function globalScales(
  tensors: readonly TensorHandle[],
  { scheme, options, signal }: Pick<QuantizeWeightsOptions, "scheme" | "options" | "signal">,
): Promise<Map<string, number>> {
  const scales = new Map<string, number>();
  if (scheme !== "nvfp4" || options?.globalScale !== undefined) return scales;
  const groups = new Map<string, TensorHandle[]>();
  for (const tensor of tensors) {
    const group = sharesScale(tensor.name);
    if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), tensor]);
  }
  for (const members of groups.values()) {
    if (members.length < 2) continue;
    let largest = 0;
    for (const tensor of members) largest = Math.max(largest, await largestIn(tensor, signal));
    const dtype = members[0]!.dtype as FloatDtype;
    for (const { name } of members) scales.set(name, nvfp4GlobalScale(largest, dtype));
  }
  return scales;
}

async function largestIn(tensor: TensorHandle, signal: AbortSignal | undefined): Promise<number> {
  let largest = 0;
  // A NaN is told of when the weight is quantised.
  for (const value of await tensor.toFloat32({ signal }))
    if (Math.abs(value) > largest) largest = Math.abs(value);
  return largest;
}
