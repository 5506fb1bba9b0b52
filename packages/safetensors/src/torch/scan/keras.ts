import { quote } from "../../errors.ts";
import { classifyGlobal } from "../globals.ts";
import { MAX_HDF5_SEARCH_BYTES, MAX_KERAS_CONFIG_BYTES } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import type { Part, Scan } from "./part.ts";

/** Packages whose classes Keras makes from their names; JAX and TensorFlow bring their own copies. */
const KERAS_MODULES =
  /^(?:keras|keras_\w+|tf_keras|tensorflow\.keras|tensorflow\.python\.keras|builtins)(?:\.|$)/;

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

function checkObject(scan: Scan, part: Part, value: Readonly<Record<string, unknown>>): void {
  const { class_name: className, module, config: named } = value;
  if (
    className === "__lambda__" ||
    (value.config as { code?: unknown } | null | undefined)?.code !== undefined
  )
    scan.add(part, "keras-lambda", "holds the Python bytecode of a function, which loading may run");
  else if (className === "Lambda")
    scan.add(part, "keras-custom", "has a Lambda layer, which runs a function of its own");
  else if (typeof className === "string" && LOADERS.has(className))
    scan.add(part, "keras-custom", `has a layer ${quote(className)}, which loads a model of another kind`);
  else if (className === "function" && typeof named === "string" && typeof module === "string")
    return checkFunction(scan, part, module, named);
  if (typeof module !== "string" || typeof className !== "string" || KERAS_MODULES.test(module)) return;
  const { path, role, reason } = classifyGlobal(module, className);
  if (role === "forbidden")
    scan.add(part, "keras-module", `names ${quote(path)}, which ${reason}`, { global: path });
  else if (role === "unknown")
    scan.add(part, "keras-custom", `names ${quote(path)}, a class that is not of Keras`, { global: path });
}

/** Functions are found by their module and name, which for those of Keras's lists of functions is `builtins`. */
function checkFunction(scan: Scan, part: Part, module: string, name: string): void {
  const { path, role, reason } = classifyGlobal(module, name);
  if (role === "forbidden")
    scan.add(part, "keras-module", `names ${quote(path)}, which ${reason}`, { global: path });
  else if (!FUNCTION_MODULES.test(module))
    scan.add(part, "keras-custom", `names ${quote(path)}, a function of its own`, { global: path });
}

/** Looks for a Lambda layer in an HDF5 file, whose model configuration is JSON text. Such files are not understood. */
export async function scanHdf5(scan: Scan, part: Part): Promise<void> {
  const length = Math.min(part.source.size, MAX_HDF5_SEARCH_BYTES);
  const text = decodeLatin1(await scan.read(part, 0, length));
  const lambda = text.search(/"class_name":\s*"Lambda"/);
  if (lambda >= 0) {
    const code = /"class_name":\s*"(?:__lambda__)"|"function_type":\s*"lambda"/.test(text);
    if (code)
      scan.add(part, "keras-lambda", "holds the Python bytecode of a function, which loading may run", {
        at: lambda,
      });
    else
      scan.add(part, "keras-custom", "has a Lambda layer, which runs a function of its own", { at: lambda });
  }
  scan.add(part, "not-understood", "is an HDF5 file, in which only Lambda layers are looked for");
}
