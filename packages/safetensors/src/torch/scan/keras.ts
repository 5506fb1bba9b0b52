import { quote } from "../../errors.ts";
import { classifyGlobal } from "../globals.ts";
import { MAX_KERAS_CONFIG_BYTES } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import type { Part, Scan } from "./part.ts";
import { parsePythonJson } from "./python-json.ts";
import type { Draft } from "./report.ts";

/** Packages whose classes Keras makes from their names; others may be named like them. */
const KERAS_PACKAGE =
  /^(?:keras|keras_(?:core|cv|hub|nlp)|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(?:\.|$)/;

/** Layers of Keras that load what is in their configuration, or what it names. */
const LOADERS = new Set(["TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"]);

/** Where functions lie that a configuration may name; others of Keras read and write files. */
const FUNCTION_MODULES =
  /^(?:builtins|(?:keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(?:\.src|\.api)*\.(?:activations|initializers|losses|metrics|regularizers|constraints|ops|layers|optimizers)(?:\.|$).*)$/;

/** Functions of TensorFlow that a layer may call: others read and write files, and load libraries. */
const TENSOR_FUNCTION =
  /^(?:(?:__operators__|math|nn|linalg|image|signal|strings|random|sparse|ragged|keras\.(?:activations|backend))\.\w+|(?!py_|numpy_|load_|print$|function$)\w+)$/;

const BYTECODE: Draft = ["keras-lambda", "holds the Python bytecode of a function, which loading may run"];

/**
 * Scans the configuration of a Keras model (`config.json` of a `.keras` archive): its layers are made from classes that
 * it names, and a Lambda layer may hold the bytecode of a function.
 */
export async function scanKerasConfig(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  if (size > MAX_KERAS_CONFIG_BYTES) return scan.add(part, "limit", `is a configuration of ${size} bytes`);
  const bytes = await scan.read(part, 0, size);
  const config = parsePythonJson(bytes);
  if (config === undefined) {
    scan.add(part, "malformed-file", "is not valid JSON in UTF-8");
    // Python takes UTF-16 and UTF-32, too.
    const text = decodeLatin1(bytes).replaceAll("\0", "");
    for (const [code, message] of draftsOfText(text)) scan.add(part, code, message);
    return;
  }
  scan.report.addScanned(part.where);
  const waiting: unknown[] = [config];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (typeof value !== "object" || value === null) continue;
    if (!Array.isArray(value))
      for (const draft of draftsOfObject(value as KerasObject)) scan.add(part, ...draft);
    for (const inner of Object.values(value))
      if (typeof inner === "object" && inner !== null) waiting.push(inner);
  }
}

/** Keys whose values are text, in the order in which Keras writes them. */
const TEXT_ENTRY = /"(module|class_name|config|registered_name|function_type)":\s*"([^"\\]{1,999})"/g;

/** What loading may run by a text in which there is a configuration somewhere, which nobody can read as one. */
export function* draftsOfText(text: string): Iterable<Draft> {
  let module: string | undefined;
  for (const { 1: key, 2: name = "", index: at } of text.matchAll(TEXT_ENTRY)) {
    if (key === "module") module = name;
    const drafts = [
      key === "class_name" ? draftOfLayer(name) : undefined,
      name === "__lambda__" || (key === "function_type" && name === "lambda") ? BYTECODE : undefined,
      module === undefined ? undefined : draftOfForbidden(module, name),
    ];
    for (const draft of drafts) if (draft) yield [draft[0], draft[1], { ...draft[2], at }];
  }
}

type KerasObject = Readonly<Record<string, unknown>>;

/** An object is made by the class that it names, in the module that it names: of these, Keras looks up any name. */
function* draftsOfObject(value: KerasObject): Iterable<Draft> {
  const { class_name: className, module, config, registered_name: registered } = value;
  if (className === "__lambda__" || holdsBytecode(config)) yield BYTECODE;
  const isFunction = className === "function";
  // The name under which a class is registered is looked up in the module, too, if the other is not there.
  const names = (isFunction ? [config, registered] : [className, registered]).filter(isText);
  const drafts = [
    ...(isFunction ? [] : names.map(draftOfLayer)),
    className === "TFOpLambda" ? draftOfOperation(config) : undefined,
    // The module is imported before any of them is looked up.
    ...(className !== undefined && isText(module)
      ? (names.length > 0 ? names : [""]).map((name) => draftOfName(module, name, isFunction))
      : []),
  ];
  for (const draft of drafts) if (draft) yield draft;
}

/** The code of a function, or a Lambda layer whose functions Keras 2 wrote as lists of their code and what it needs. */
function holdsBytecode(config: unknown): boolean {
  if (typeof config !== "object" || config === null) return false;
  const { code, function: made, ...types } = config as KerasObject;
  const isLambda = [types.function_type, types.output_shape_type, types.mask_type].includes("lambda");
  return code !== undefined || isLambda || (Array.isArray(made) && isText(made[0]));
}

function draftOfLayer(name: string): Draft | undefined {
  // A package stands before the name of a registered class.
  const [layer = ""] = name.split(">").slice(-1);
  if (layer === "Lambda") return ["keras-custom", "has a Lambda layer, which runs a function of its own"];
  if (!LOADERS.has(layer)) return undefined;
  return ["keras-custom", `has a layer ${quote(layer)}, which loads a model of another kind`];
}

function draftOfOperation(config: unknown): Draft | undefined {
  const { function: name } = (config ?? {}) as KerasObject;
  if (isText(name) && TENSOR_FUNCTION.test(name)) return undefined;
  return ["keras-custom", `has a layer that calls ${quote(String(name))}, which is no function of tensors`];
}

/** Functions are found like classes; that of those in Keras's lists of functions, the module is `builtins`. */
function draftOfName(module: string, name: string, isFunction: boolean): Draft | undefined {
  const isOfKeras = KERAS_PACKAGE.test(module);
  // No name in a module has the sign between a package and a name.
  if (isOfKeras && (name.includes(">") || (!isFunction && /^[A-Z]/.test(name)))) return undefined;
  const forbidden = draftOfForbidden(module, name);
  if (forbidden) return forbidden;
  const { path: global, role } = classifyGlobal(module, name);
  if (isFunction || isOfKeras ? FUNCTION_MODULES.test(module) : role !== "unknown") return undefined;
  return ["keras-custom", `names ${quote(global)}, which is no class or function of layers`, { global }];
}

function draftOfForbidden(module: string, name: string): Draft | undefined {
  const { path: global, role, reason } = classifyGlobal(module, name);
  if (role !== "forbidden") return undefined;
  return ["keras-module", `names ${quote(global)}, which ${reason}`, { global }];
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
