import { deviceOf, inferDeviceMap, parseDeviceMap, parseMemory } from "safetensors.js/parallel";
import { runPython } from "../python.mjs";

/** Device maps and amounts of memory as accelerate has them: the same names and devices, in the same JSON. */
export async function checkDeviceMaps(report, { python }) {
  const { amounts, cases } = JSON.parse(runPython(python, "parallel_device_maps.py"));
  for (const [amount, bytes] of amounts) report.equal(`${amount} of memory`, bytesOf(amount), bytes);
  for (const one of cases) checkModel(report, one);
}

function bytesOf(amount) {
  try {
    return parseMemory(amount);
  } catch {
    return null;
  }
}

function checkModel(report, { case: title, by_names: isByNames, tensors, aliases, whole, settings }) {
  const sized = tensors.map(([name, byteLength]) => ({ name, byteLength }));
  const names = [...tensors, ...aliases].map(([name]) => name);
  const classes = new Map(Object.entries(whole));
  for (const { memory, strategy, map } of settings) {
    const shown = `${title}, ${strategy}, ${JSON.stringify(memory)}`;
    const isWhole = (module) => classes.get(module) ?? false;
    const ours = inferDeviceMap(sized, { maxMemory: memory, strategy, isWhole, aliases, order: "given" });
    const isComplete = names.every((name) => deviceOf(ours, name) !== undefined);
    report.check(`${shown}: every tensor is somewhere`, isComplete);
    if (map === null) continue;
    report.equal(shown, JSON.parse(JSON.stringify(Object.fromEntries(ours))), map);
    const places = parseDeviceMap(map);
    const areSame = names.every((name) => deviceOf(places, name) === deviceOf(ours, name));
    report.check(`${shown}: read from JSON`, areSame);
    if (!isByNames) continue;
    // As a file has them: by name, without anything else being known of the model.
    const byName = sized.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    const found = inferDeviceMap(byName, { maxMemory: memory, strategy, aliases });
    const areFound = names.every((name) => deviceOf(places, name) === deviceOf(found, name));
    report.check(`${shown}: by names`, areFound);
  }
}
