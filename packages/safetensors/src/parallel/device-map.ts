import { quote } from "../errors.ts";
import { problem } from "./problem.ts";

/** A device as accelerate names it: the number of a GPU, `"cpu"`, `"disk"`, `"mps"`, `"cuda:1"`. */
export type Device = number | string;

/** Which modules, by their names, go to which devices. `""` stands for all. */
export type DeviceMap = ReadonlyMap<string, Device>;

/** The device of a tensor: that of the longest name that is its own or of a module around it. */
export function deviceOf(map: DeviceMap, name: string): Device | undefined {
  for (let at = name; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf(".")))) {
    const device = map.get(at);
    if (device !== undefined) return device;
  }
  return map.get("");
}

/**
 * The tensors of each device. Those that the map does not mention are an error, or go to the device `otherwise`
 * (accelerate's loader: `"cpu"`).
 *
 * @throws `INVALID_SLICE`
 */
export function groupByDevice<T extends { readonly name: string }>(
  map: DeviceMap,
  tensors: Iterable<T>,
  otherwise?: Device,
): Map<Device, T[]> {
  const groups = new Map<Device, T[]>();
  for (const tensor of tensors) {
    const device = deviceOf(map, tensor.name) ?? otherwise;
    if (device === undefined) {
      const text = `the device map has no device for tensor ${quote(tensor.name)}`;
      throw problem(text, { tensor: tensor.name });
    }
    const group = groups.get(device);
    if (group) group.push(tensor);
    else groups.set(device, [tensor]);
  }
  return groups;
}

/**
 * A device map out of parsed JSON: an object of names and devices.
 *
 * @throws `INVALID_SLICE`
 */
export function parseDeviceMap(value: unknown): DeviceMap {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw problem("a device map is an object of names and devices");
  const map = new Map<string, Device>();
  for (const [name, device] of Object.entries(value)) {
    const isDevice = typeof device === "string" || (Number.isSafeInteger(device) && device >= 0);
    if (!isDevice) {
      const shown = quote(JSON.stringify(device) ?? String(device));
      throw problem(`the device of ${quote(name)} is ${shown}; expected a number or a name`);
    }
    map.set(name, device as Device);
  }
  return map;
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
  ["KIB", 2 ** 10],
  ["MIB", 2 ** 20],
  ["GIB", 2 ** 30],
]);

/**
 * Bytes, from a number or a text as accelerate takes it: `"10GiB"`, `"10GB"` (powers of ten); with a small b these
 * are bits: `"10Gb"`, but not `"10Gib"`.
 *
 * @throws `INVALID_SLICE` for what is no amount of memory
 */
export function parseMemory(memory: number | string): number {
  const [, amount, unit = ""] = /^(\d+\.?\d*|\.\d+)\s*([KMG]i?b)$/i.exec(String(memory)) ?? [];
  const ofUnit = UNITS.get(unit.toUpperCase());
  const bytes =
    typeof memory === "number"
      ? memory
      : Math.floor((Number(amount) * (ofUnit ?? Number.NaN)) / (/^.b$/.test(unit) ? 8 : 1));
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes;
  throw problem(`${quote(String(memory))} is no amount of memory; expected bytes, "10GiB" or "10GB"`);
}
