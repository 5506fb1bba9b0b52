import type { Device } from "./device-map.ts";
import { isLeaf, type ModuleNode, visit } from "./module-tree.ts";
import { genericName } from "./names.ts";

/** Whether a module has to be on one device as a whole, or the name of the kind of such modules that it is. */
export type WholeModules = (module: string) => boolean | string;

/**
 * The memory of GPUs, lowered to their share of the model for all but the last, and some more, as a part may not fit in
 * (accelerate's `get_balanced_memory`). With `hasLowFirst` the first gets only what the others leave.
 *
 * @param root the modules of a model, what is tied in the first of them only
 */
export function balanceMemory(
  memory: ReadonlyMap<Device, number>,
  root: ModuleNode,
  isWhole: WholeModules,
  hasLowFirst: boolean,
): Map<Device, number> {
  const balanced = new Map(memory);
  const gpus = [...memory].flatMap(([device, size]) =>
    typeof device === "number" && size > 0 ? [device] : [],
  );
  if (gpus.length < 2) return balanced;
  // A first GPU without memory is one that has little already.
  const low = hasLowFirst ? (memory.has(0) ? 0 : gpus[0]!) : undefined;
  const sharing = gpus.length - (hasLowFirst ? 1 : 0);
  const share = Math.floor(root.bytes / sharing) + spareBytes(root, isWhole);
  for (const gpu of gpus.slice(0, -1)) if (gpu !== low) balanced.set(gpu, Math.min(share, memory.get(gpu)!));
  if (low === undefined) return balanced;
  const others = gpus.reduce((sum, gpu) => sum + (gpu === low ? 0 : balanced.get(gpu)!), 0);
  return balanced.set(low, Math.min(Math.max(0, root.bytes - others), memory.get(low)!));
}

/**
 * A quarter more than the largest module that has to be whole, of each kind the first, or than the mean of the modules
 * without modules.
 */
function spareBytes(root: ModuleNode, isWhole: WholeModules): number {
  const wholes = new Map<string, number>();
  let [leaves, leafBytes] = [0, 0];
  visit(root, (node) => {
    if (node === root) return;
    if (isLeaf(node)) {
      leaves++;
      leafBytes += node.bytes;
    }
    const answer = isWhole(node.name);
    const kind = answer === true ? genericName(node.name) : answer;
    if (kind !== false && !wholes.has(kind)) wholes.set(kind, node.bytes);
  });
  const mean = Math.floor(leafBytes / Math.max(1, leaves));
  const largest = [...wholes.values()].reduce((most, bytes) => Math.max(most, bytes), 0);
  return Math.floor(1.25 * Math.max(largest, mean));
}
