import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { nvfp4GlobalScale } from "../../quant/make/fp4.ts";
import { sharesScale } from "../../quant/make/skip.ts";
import type { QuantizeWeightsOptions } from "./quantize-weights.ts";
import type { Spool } from "./spool.ts";
import type { Step } from "./steps.ts";

/** What is noted of weights that share a global scale. */
interface ScaleNote {
  readonly names: readonly string[];
  readonly scale: number;
}

/**
 * The search for NVFP4's global scales of weights that are run as one (q, k and v; gate and up), which must be the same. These
 * are read once more for it; weights that are alone are left to the scheme.
 */
export function globalScaleSteps(
  tensors: readonly TensorHandle[],
  { scheme, options, signal }: Pick<QuantizeWeightsOptions, "scheme" | "options" | "signal">,
): Step[] {
  if (scheme !== "nvfp4" || options?.globalScale !== undefined) return [];
  const groups = new Map<string, TensorHandle[]>();
  for (const tensor of tensors) {
    const group = sharesScale(tensor.name);
    if (group === undefined) continue;
    const members = groups.get(group);
    if (members) members.push(tensor);
    else groups.set(group, [tensor]);
  }
  return Array.from(groups)
    .filter(([, members]) => members.length > 1)
    .map(([group, members]) => ({
      item: `global scale of ${group}`,
      bytes: members.reduce((sum, { byteLength }) => sum + byteLength, 0),
      async run() {
        let largest = 0;
        for (const tensor of members) largest = Math.max(largest, await largestIn(tensor, signal));
        const scale = nvfp4GlobalScale(largest, members[0]!.dtype as FloatDtype);
        const note: ScaleNote = { names: members.map(({ name }) => name), scale };
        return { parts: [], note };
      },
    }));
}

/** The scales that these steps have found, by the names of the weights. */
export function globalScalesOf(steps: readonly Step[], spool: Spool): Map<string, number> {
  const items = new Set(steps.map(({ item }) => item));
  const scales = new Map<string, number>();
  for (const { item, note } of spool.entries) {
    if (!items.has(item)) continue;
    const { names, scale } = note as ScaleNote;
    for (const name of names) scales.set(name, scale);
  }
  return scales;
}

/** The largest magnitude; NaN and infinities are told of when the weight is quantised. */
async function largestIn(tensor: TensorHandle, signal: AbortSignal | undefined): Promise<number> {
  let largest = 0;
  for (const value of await tensor.toFloat32({ signal })) {
    const magnitude = Math.abs(value);
    if (magnitude > largest && magnitude < Number.POSITIVE_INFINITY) largest = magnitude;
  }
  return largest;
}
