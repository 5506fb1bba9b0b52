import { balanceMemory, type WholeModules } from "./balance-memory.ts";
import { type Device, type DeviceMap, parseMemory } from "./device-map.ts";
import { layerOf } from "./layers.ts";
import { inModelOrder, type ModuleNode, moduleTree, nodeOf, type SizedTensor } from "./module-tree.ts";
import { placeModules } from "./place-modules.ts";
import { problem } from "./problem.ts";
import { tiedNames } from "./tied.ts";

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
  /**
   * Whether a module has to be on one device as a whole. If not given: each layer of a list of layers. Where accelerate
   * goes by a class (`no_split_module_classes`), the answer may be the name of it. It matters for a balanced map only,
   * which leaves room for the first module of each kind; otherwise those of one kind differ in numbers only.
   */
  readonly isWhole?: WholeModules;
  /** Names of tensors that are others of these: what is tied goes to one device, if it fits there. */
  readonly aliases?: Iterable<readonly [name: string, of: string]>;
  /**
   * Whether tensors are `given` in the order in which the model has its modules, as those of a PyTorch state dict are.
   * If not, their `names` have to tell it.
   */
  readonly order?: "given" | "names";
}

/** Most devices. */
const MAX_DEVICES = 4096;

/**
 * A device map by the rules of accelerate's `infer_auto_device_map` (1.15): GPUs first, then the processor's memory,
 * then the disk, in the order of the modules and never back. What does not fit is split into its parts, unless it has
 * to be whole. Tensors that are tied count once, and take the modules that they are in along. On the first GPU and in
 * the processor's memory there is room left for the largest layer that is still to come, which may have to be brought
 * back.
 *
 * @throws `INVALID_SLICE` for devices and amounts of memory that are none
 */
export function inferDeviceMap(tensors: Iterable<SizedTensor>, options: DeviceMapOptions): DeviceMap {
  const { strategy = "auto", isWhole = isLayer, aliases = [], order = "names" } = options;
  const memory = sortDevices(options.maxMemory);
  const groups = tiedNames(aliases);
  const sized = countOnce(tensors, groups, order);
  const root = moduleTree(sized);
  const places = placeModules({
    root,
    memory: strategy === "sequential" ? memory : balance(memory, sized, groups, options),
    isWhole: ({ name }) => isWhole(name) !== false,
    tied: groups.map((group) => Array.from(group, (name) => nodeOf(root, name)!)),
  });
  const map = new Map<string, Device>();
  merge(root, places, map);
  return map;
}

/** The tensors in the order of the model, and the other names of tied ones; the bytes of those with the first name. */
function countOnce(
  tensors: Iterable<SizedTensor>,
  groups: readonly ReadonlySet<string>[],
  order: "given" | "names",
): SizedTensor[] {
  const sizes = new Map(Array.from(tensors, ({ name, byteLength }) => [name, byteLength]));
  const groupOf = new Map(groups.flatMap((group) => Array.from(group, (name) => [name, group] as const)));
  for (const name of groupOf.keys()) if (!sizes.has(name)) sizes.set(name, 0);
  const entries = Array.from(sizes, ([name, byteLength]) => ({ name, byteLength }));
  const counted = new Set<ReadonlySet<string>>();
  return (order === "given" ? entries : inModelOrder(entries)).map((entry) => {
    const group = groupOf.get(entry.name);
    if (!group) return entry;
    const isFirst = !counted.has(group);
    counted.add(group);
    const bytes = isFirst ? [...group].reduce((most, name) => Math.max(most, sizes.get(name)!), 0) : 0;
    return { name: entry.name, byteLength: bytes };
  });
}

function balance(
  memory: ReadonlyMap<Device, number>,
  sized: readonly SizedTensor[],
  groups: readonly ReadonlySet<string>[],
  { strategy, isWhole = isLayer }: DeviceMapOptions,
): Map<Device, number> {
  const tied = new Set(groups.flatMap((group) => [...group]));
  // Modules that have nothing but other names of tensors do not count here.
  const counted = moduleTree(sized.filter(({ name, byteLength }) => byteLength > 0 || !tied.has(name)));
  return balanceMemory(memory, counted, isWhole, strategy === "balanced_low_0");
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

/** What is known of a node that is written. */
interface Merged {
  /** The device that all of it is on, if it is one. */
  readonly device: Device | undefined;
  /** What was placed in it. */
  readonly placed: number;
  /** The name in the map, if it is on one device. */
  readonly key: string;
}

/**
 * Writes where a node is: by one name if it is on one device, else by those of its parts (accelerate's
 * `clean_device_map`: what was placed alone in a module keeps its own name).
 */
function merge(node: ModuleNode, places: ReadonlyMap<ModuleNode, Device>, map: Map<string, Device>): Merged {
  const own = places.get(node);
  if (own !== undefined) {
    map.set(node.name, own);
    return { device: own, placed: 1, key: node.name };
  }
  const parts = [...node.children.values()].map((child) => merge(child, places, map));
  const placed = parts.reduce((sum, part) => sum + part.placed, 0);
  const [first] = parts;
  if (first?.device === undefined || parts.some(({ device }) => device !== first.device))
    return { device: undefined, placed, key: node.name };
  if (placed === 1) return first;
  for (const { key } of parts) map.delete(key);
  map.set(node.name, first.device);
  return { device: first.device, placed, key: node.name };
}
