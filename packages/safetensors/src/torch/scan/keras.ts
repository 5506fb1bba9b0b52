import { quote } from "../../errors.ts";
import { classifyGlobal } from "../globals.ts";
import { MAX_KERAS_CONFIG_BYTES } from "../limits.ts";
import type { Part, Scan } from "./part.ts";

/** Packages whose classes Keras makes from their names; others may be named like them. */
const KERAS_PACKAGE =
  /^(?:keras|keras_(?:core|cv|hub|nlp)|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(?:\.|$)/;

/** Layers of Keras that load what is in their configuration, or what it names. */
const LOADERS = new Set(["TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"]);

/** Where functions lie that a configuration may name; others of Keras read and write files. */
const FUNCTION_MODULES =
  /^(?:builtins|(?:keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(?:\.src|\.api)*\.(?:activations|initializers|losses|metrics|regularizers|constraints|ops|layers|optimizers)(?:\.|$).*)$/;

/**
 * Scans the configuration of a Keras model (`config.json` of a `.keras` archive): its layers are made from classes that
 * it names, and a Lambda layer may hold the bytecode of a function.
 */
export async function scanKerasConfig(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  if (size > MAX_KERAS_CONFIG_BYTES) return scan.add(part, "limit", `is a configuration of ${size} bytes`);
  let config: unknown;
  try {
    config = JSON.parse(new TextDecoder().decode(await scan.read(part, 0, size)));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return scan.add(part, "malformed-file", "is not valid JSON");
  }
  scan.report.addScanned(part.where);
  const waiting: unknown[] = [config];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (typeof value !== "object" || value === null) continue;
    if (!Array.isArray(value)) checkObject(scan, part, value as Readonly<Record<string, unknown>>);
    for (const inner of Object.values(value))
      if (typeof inner === "object" && inner !== null) waiting.push(inner);
  }
}

/** An object is made by the class that it names, in the module that it names: of these, Keras looks up any name. */
function checkObject(scan: Scan, part: Part, value: Readonly<Record<string, unknown>>): void {
  const { class_name: className, module, config, registered_name: registered } = value;
  if (className === "__lambda__" || (config as { code?: unknown } | null | undefined)?.code !== undefined)
    scan.add(part, "keras-lambda", "holds the Python bytecode of a function, which loading may run");
  const isFunction = className === "function";
  // The name under which a class is registered is looked up in the module, too, if the other is not there.
  for (const name of isFunction ? [config, registered] : [className, registered]) {
    if (typeof name !== "string") continue;
    if (!isFunction) checkLayer(scan, part, name);
    // No name in a module has the sign between a package and a name.
    if (typeof module === "string" && !name.includes(">")) checkName(scan, part, module, name, isFunction);
  }
}

function checkLayer(scan: Scan, part: Part, name: string): void {
  if (name === "Lambda")
    scan.add(part, "keras-custom", "has a Lambda layer, which runs a function of its own");
  else if (LOADERS.has(name))
    scan.add(part, "keras-custom", `has a layer ${quote(name)}, which loads a model of another kind`);
}

/** Functions are found like classes; that of those in Keras's lists of functions, the module is `builtins`. */
function checkName(scan: Scan, part: Part, module: string, name: string, isFunction: boolean): void {
  const isOfKeras = KERAS_PACKAGE.test(module);
  if (isOfKeras && !isFunction && /^[A-Z]/.test(name)) return;
  const { path, role, reason } = classifyGlobal(module, name);
  const isKnown = isFunction || isOfKeras ? FUNCTION_MODULES.test(module) : role !== "unknown";
  if (role === "forbidden")
    scan.add(part, "keras-module", `names ${quote(path)}, which ${reason}`, { global: path });
  else if (!isKnown)
    scan.add(part, "keras-custom", `names ${quote(path)}, which is no class or function of layers`, {
      global: path,
    });
}
