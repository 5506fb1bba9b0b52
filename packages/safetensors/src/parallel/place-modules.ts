import type { Device } from "./device-map.ts";
import { LayerReserve } from "./layer-reserve.ts";
import { isLeaf, type ModuleNode, partsOf } from "./module-tree.ts";

/** What is placed, and where. */
export interface Placement {
  readonly root: ModuleNode;
  /** Bytes of each device but the disk, in the order in which they are filled. */
  readonly memory: ReadonlyMap<Device, number>;
  readonly isWhole: (node: ModuleNode) => boolean;
  /** Groups of tensors that are the same one, with its bytes in the first. */
  readonly tied: readonly (readonly ModuleNode[])[];
}

/**
 * The device of each module that is on one as a whole. A module goes to the device that is being filled if it fits,
 * with the modules that have tensors tied to it; if only these make it too large, they are split, and then it is.
 * What cannot be split goes to the next device.
 */
export function placeModules({ root, memory, isWhole, tied }: Placement): Map<ModuleNode, Device> {
  const places = new Map<ModuleNode, Device>();
  const devices = [...memory.keys()];
  const reserve = new LayerReserve(root, isWhole);
  const isReserving = reservingDevices(devices);
  const groups = groupsAround(tied);
  const waiting = new Set(partsOf(root));
  const queue = [...waiting].reverse();
  const canSplit = (node: ModuleNode): boolean => !node.isTensor && !isLeaf(node) && !isWhole(node);
  const split = (node: ModuleNode): void => {
    waiting.delete(node);
    for (const part of partsOf(node)) waiting.add(part);
  };
  let [current, used] = [0, 0];
  for (let node = queue.pop(); node; node = queue.pop()) {
    if (places.has(node)) continue;
    if (!waiting.has(node)) {
      for (const part of partsOf(node).reverse()) queue.push(part);
      continue;
    }
    const device = devices[current] ?? "disk";
    const later = reserve.after(node);
    const limit =
      current < devices.length
        ? memory.get(device)! - (isReserving(device) ? later : 0)
        : Number.POSITIVE_INFINITY;
    const ties = tiedOutside(node, groups, waiting);
    const tiedBytes = ties.reduce((sum, { holder, tensor }) => sum + holder.bytes - tensor.bytes, 0);
    if (used + node.bytes + tiedBytes <= limit) {
      used += node.bytes + tiedBytes;
      for (const placed of new Set([node, ...ties.map(({ holder }) => holder)])) {
        places.set(placed, device);
        waiting.delete(placed);
        if (placed !== node) reserve.place(placed);
      }
      continue;
    }
    queue.push(node);
    const ofTies =
      used + node.bytes <= limit ? ties.find(({ holder }) => canSplit(holder))?.holder : undefined;
    const parted = ofTies ?? (used + node.bytes >= limit && canSplit(node) ? node : undefined);
    if (parted) {
      split(parted);
      reserve.split(node);
    } else {
      current++;
      used = 0;
    }
  }
  return places;
}

/** The first GPU and the processor's memory, which layers may have to be brought back to; or Apple's GPU. */
function reservingDevices(devices: readonly Device[]): (device: Device) => boolean {
  if (devices.includes("mps")) return (device) => device === "mps";
  return (device) => device === devices[0] || device === "cpu";
}

/** For each module the groups that have a tensor in it. */
function groupsAround(tied: Placement["tied"]): Map<ModuleNode, Set<readonly ModuleNode[]>> {
  const groups = new Map<ModuleNode, Set<readonly ModuleNode[]>>();
  for (const group of tied) {
    for (const tensor of group) {
      for (let node: ModuleNode | undefined = tensor; node; node = node.parent) {
        const around = groups.get(node) ?? new Set();
        groups.set(node, around.add(group));
      }
    }
  }
  return groups;
}

/** A tensor that is tied to one in another module, and the module or tensor, still to be placed, that it lies in. */
interface Tie {
  readonly tensor: ModuleNode;
  readonly holder: ModuleNode;
}

function tiedOutside(
  node: ModuleNode,
  groups: ReadonlyMap<ModuleNode, Iterable<readonly ModuleNode[]>>,
  waiting: ReadonlySet<ModuleNode>,
): Tie[] {
  const ties: Tie[] = [];
  for (const group of groups.get(node) ?? []) {
    for (const tensor of group) {
      let holder: ModuleNode | undefined = tensor;
      while (holder && !waiting.has(holder)) holder = holder.parent;
      if (holder && holder !== node) ties.push({ tensor, holder });
    }
  }
  return ties;
}
