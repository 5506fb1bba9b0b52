import { type Device, type DeviceMap, deviceOf, parseMemory } from "./device-map.ts";
import { layerOf } from "./layers.ts";
import { isLeaf, type ModuleNode, moduleTree, type SizedTensor } from "./module-tree.ts";
import { problem } from "./problem.ts";

/** How modules are given to devices. */
export interface DeviceMapOptions {
  /**
   * Memory of each device: bytes, `"10GiB"`, `"10GB"`. Devices are GPUs by number, `"mps"`, `"cpu"`. The disk takes
   * what is left.
   */
  readonly maxMemory: Iterable<readonly [Device, number | string]>;
  /**
   * `sequential` fills one device after the other; `balanced` (the same as `auto`) gives each GPU about as much,
   * `balanced_low_0` the first as little as possible.
   */
  readonly strategy?: "auto" | "balanced" | "balanced_low_0" | "sequential";
  /** Whether a module has to be on one device as a whole. If not given: each layer of a list of layers. */
  readonly isWhole?: (module: string) => boolean;
  /** Names of tensors that are others of these: they go where those go. */
  readonly aliases?: Iterable<readonly [name: string, of: string]>;
}

/** Most devices. */
const MAX_DEVICES = 4096;

/**
 * A device map by the rules of accelerate's `infer_auto_device_map`: GPUs first, then the processor's memory, then
 * the disk, in the order of the modules and never back. What does not fit is split into its parts, unless it has to
 * be whole. On the first GPU and in the processor's memory there is room left for the largest layer that is still
 * to come, which may have to be brought back.
 *
 * @throws `INVALID_SLICE` for devices and amounts of memory that are none
 */
export function inferDeviceMap(tensors: Iterable<SizedTensor>, options: DeviceMapOptions): DeviceMap {
  const { strategy = "auto", isWhole = isLayer, aliases = [] } = options;
  const root = moduleTree(tensors);
  const memory = sortDevices(options.maxMemory);
  if (strategy !== "sequential") balance(memory, root, isWhole, strategy === "balanced_low_0");
  const places = place(root, memory, isWhole);
  const map = new Map<string, Device>();
  simplify(root, places, map);
  for (const [name, of] of aliases) {
    const device = deviceOf(map, of);
    if (device !== undefined && device !== deviceOf(map, name)) map.set(name, device);
  }
  return map;
}

function isLayer(module: string): boolean {
  return layerOf(module) !== undefined && /\.\d+$|^\d+$/.test(module);
}

/** GPUs in the order of their numbers, then `mps` and `cpu`. */
function sortDevices(given: DeviceMapOptions["maxMemory"]): Map<Device, number> {
  const devices = Array.from(given, ([device, size]) => {
    return { device, size: parseMemory(size), place: placeOf(device) };
  });
  if (devices.length > MAX_DEVICES) throw problem(`${devices.length} devices are more than ${MAX_DEVICES}`);
  const sorted = devices.filter(({ device }) => device !== "disk").sort((a, b) => a.place - b.place);
  return new Map(sorted.map(({ device, size }) => [device, size]));
}

function placeOf(device: Device): number {
  if (typeof device === "number" && Number.isSafeInteger(device) && device >= 0) return device;
  const place = ["mps", "cpu", "disk"].indexOf(String(device));
  if (place >= 0) return 2 ** 53 + 2 * place;
  throw problem(`there is no device ${device}; expected the number of a GPU, "mps", "cpu" or "disk"`);
}

/**
 * Lowers the memory of all GPUs but the last to their share of the model, and some more, as a part may not fit in.
 */
function balance(
  memory: Map<Device, number>,
  root: ModuleNode,
  isWhole: (module: string) => boolean,
  hasLowFirst: boolean,
): void {
  const gpus = [...memory].flatMap(([device, size]) =>
    typeof device === "number" && size > 0 ? [device] : [],
  );
  if (gpus.length < 2) return;
  const leaves: number[] = [];
  let largestWhole = 0;
  visit(root, (node) => {
    if (isLeaf(node)) leaves.push(node.bytes);
    if (isWhole(node.name)) largestWhole = Math.max(largestWhole, node.bytes);
    return true;
  });
  const mean = Math.floor(leaves.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, leaves.length));
  const buffer = Math.floor(1.25 * Math.max(largestWhole, mean));
  const share = Math.floor(root.bytes / (hasLowFirst ? gpus.length - 1 : gpus.length)) + buffer;
  for (const gpu of gpus.slice(hasLowFirst ? 1 : 0, -1)) memory.set(gpu, Math.min(share, memory.get(gpu)!));
  if (!hasLowFirst) return;
  const others = gpus.slice(1).reduce((sum, gpu) => sum + memory.get(gpu)!, 0);
  memory.set(gpus[0]!, Math.min(Math.max(0, root.bytes - others), memory.get(gpus[0]!)!));
}

/** The device of each module that is on one as a whole. */
function place(
  root: ModuleNode,
  memory: ReadonlyMap<Device, number>,
  isWhole: (module: string) => boolean,
): Map<ModuleNode, Device> {
  const places = new Map<ModuleNode, Device>();
  const devices = [...memory.keys()];
  const reserve = reserves(root, isWhole);
  const queue = [...root.children.values()].reverse();
  let [current, used] = [0, 0];
  while (queue.length > 0) {
    const node = queue.pop()!;
    const device = devices[current] ?? "disk";
    const isMain = current === 0 || device === "cpu";
    const limit =
      device === "disk" ? Number.POSITIVE_INFINITY : memory.get(device)! - (isMain ? reserve.get(node)! : 0);
    if (used + node.bytes <= limit) {
      places.set(node, device);
      used += node.bytes;
    } else if (node.isTensor || isLeaf(node) || isWhole(node.name)) {
      queue.push(node);
      current++;
      used = 0;
    } else {
      // The last one is taken next: the tensors that lie in a module itself go before its modules.
      const parts = [...node.children.values()].reverse();
      for (const part of parts) if (!part.isTensor) queue.push(part);
      for (const part of parts) if (part.isTensor) queue.push(part);
    }
  }
  return places;
}

/** For each node the bytes of the largest layer that comes after it. */
function reserves(root: ModuleNode, isWhole: (module: string) => boolean): Map<ModuleNode, number> {
  const reserve = new Map<ModuleNode, number>();
  const nodes: ModuleNode[] = [];
  visit(root, (node) => {
    nodes.push(node);
    return !isWhole(node.name);
  });
  // Backwards, a node comes after all that is in it: then the largest layer is one of those, or comes later.
  const pending: { readonly node: ModuleNode; readonly after: number }[] = [{ node: root, after: 0 }];
  const largest = new Map<ModuleNode, number>();
  for (const node of nodes.toReversed()) {
    let most = 0;
    for (const child of node.children.values()) most = Math.max(most, largest.get(child) ?? 0);
    largest.set(node, isWhole(node.name) || isLeaf(node) ? node.bytes : most);
  }
  while (pending.length > 0) {
    const { node, after } = pending.pop()!;
    reserve.set(node, after);
    let later = after;
    for (const child of [...node.children.values()].reverse()) {
      pending.push({ node: child, after: later });
      later = Math.max(later, largest.get(child) ?? 0);
    }
  }
  return reserve;
}

/** Visits a node and, if that says so, what is in it. Names have few parts, so this is not deep. */
function visit(node: ModuleNode, action: (node: ModuleNode) => boolean): void {
  if (!action(node)) return;
  for (const child of node.children.values()) visit(child, action);
}

/** Writes a node's device, or where its parts are on several, those of its parts. */
function simplify(
  node: ModuleNode,
  places: ReadonlyMap<ModuleNode, Device>,
  map: Map<string, Device>,
): Device | undefined {
  const own = places.get(node);
  if (own !== undefined) {
    map.set(node.name, own);
    return own;
  }
  const parts = [...node.children.values()].map((child) => ({ child, device: simplify(child, places, map) }));
  const [first] = parts;
  if (first?.device === undefined || parts.some(({ device }) => device !== first.device)) return undefined;
  for (const { child } of parts) map.delete(child.name);
  map.set(node.name, first.device);
  return first.device;
}
