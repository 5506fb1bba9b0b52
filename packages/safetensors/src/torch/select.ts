import { wantedTest } from "../checkpoint/select.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_HEADER_BYTES } from "../limits.ts";
import { chooseContainer, enterable, keyAdvice, type Place, wholeObject } from "./container.ts";
import { formOf } from "./forms.ts";
import { MAX_LISTED, MAX_PATHS_PER_OPCODE } from "./limits.ts";
import type { SelectOptions } from "./options.ts";
import { ObjectNode, PyTuple } from "./pickle/containers.ts";
import { kindOf, type PickleValue } from "./pickle/values.ts";
import { allParts, type Known, reachesTensor } from "./reach.ts";
import type { Steps } from "./steps.ts";
import { StorageNode } from "./storage.ts";
import { CompositeTensor, DerivedTensor, type ReadableTensor } from "./tensor.ts";
import { isArray, isTensor, tensorOf } from "./tensor-of.ts";
import { type Container, isContainer, joinPath, type Leaf, leaves, leavesOnce, limitError } from "./walk.ts";

/** Leaves between two pauses: some milliseconds. */
const LEAVES_AT_ONCE = 1 << 14;

/** Values of an attribute that are looked at for tensors: quantized modules pack two in a tuple in a tuple. */
const MAX_NEAR = 32;

/** What was met but not taken: how often, and the first thousand. */
export interface LeftOut {
  readonly count: number;
  /** Paths from the top, and what is there in Python's words ("int", "object of argparse.Namespace"). */
  readonly listed: readonly { readonly path: string; readonly kind: string }[];
}

/** The tensors that make up the checkpoint, and what lies beside them. */
export interface Selection {
  /** Path of the container whose tensors these are; "" is the top. */
  readonly container: string;
  readonly tensors: ReadonlyMap<string, ReadableTensor>;
  /** Tensors that have other names here, in parts, or none, as they were not to be had: by their names in the file. */
  readonly renamed: ReadonlyMap<string, readonly string[]>;
  /** Values that are not tensors. */
  readonly values: LeftOut;
  /** Tensors outside of the container, and those in modules that their `state_dict()` leaves out. */
  readonly outside: LeftOut;
  /** Tensors that are not in the file as they are given, by name, and what is there. */
  readonly remade: LeftOut;
  /** Classes of the objects that the tensors are in: modules, and subclasses of dict and list. At most a thousand. */
  readonly classes: readonly string[];
}

/**
 * Finds and names the tensors in what a pickle holds.
 *
 * @param opcodes of the pickle: what it may unfold to is measured by it
 */
export function* selectTensors(top: PickleValue, opcodes: number, options: SelectOptions): Steps<Selection> {
  const values = new LeftOutList();
  const outside = new LeftOutList();
  const taken = new TakenTensors(options);
  let container = "";
  if (isTensor(top) || isArray(top)) {
    taken.add("tensor", top);
  } else {
    const key = options.key ?? (options.flatten ? "" : undefined);
    const outermost = (key === undefined ? undefined : enterable(top)) ?? asContainer(top);
    const place = chooseContainer(outermost, key);
    container = place.path;
    const maxPaths = opcodes * MAX_PATHS_PER_OPCODE;
    yield* flatten(place, maxPaths, taken, values, outside);
    if (taken.tensors.size + taken.renamed.size === 0) throw noTensors(nothingTaken(outside.result()));
    const known: Known = new Map();
    let passed = 0;
    for (const leaf of leavesOnce(outermost, maxPaths, new Set([place.container]))) {
      if (++passed % LEAVES_AT_ONCE === 0) yield;
      leaveOut(leaf, leaf.path, known, values, outside);
    }
  }
  const { tensors, renamed, remade, classes } = taken;
  return {
    container,
    tensors,
    renamed,
    values: values.result(),
    outside: outside.result(),
    remade: remade.result(),
    classes: [...classes],
  };
}

function asContainer(top: PickleValue): Container {
  if (isContainer(top)) return top;
  if (!(top instanceof ObjectNode))
    throw noTensors(`the file holds nothing but a value of the type ${kindOf(top)}`);
  refuseUnknownMaker(top, "the whole file", new Map());
  throw wholeObject(top, "");
}

/** Takes every tensor below a container, named by its path there. */
function* flatten(
  place: Place,
  maxPaths: number,
  taken: TakenTensors,
  values: LeftOutList,
  outside: LeftOutList,
): Steps<void> {
  const known: Known = new Map();
  const onContainer = (container: Container): void => {
    if (!(container instanceof ObjectNode)) return;
    refuseUnknownMaker(container, quote(container.className), known);
    if (taken.classes.size < MAX_LISTED) taken.classes.add(container.className);
  };
  let passed = 0;
  for (const leaf of leaves(place.container, maxPaths, onContainer)) {
    if (++passed % LEAVES_AT_ONCE === 0) yield;
    const { path, value, apart } = leaf;
    const fromTop = place.path === "" ? path : joinPath(place.path, path);
    if (apart === undefined && tensorOf(value)) {
      const fault = nameFault(leaf);
      if (fault === undefined) taken.add(path, value);
      else taken.refuse(path, new SafetensorsError("INVALID_NAME", fault, { tensor: path }));
    } else if (apart === undefined && holdsTensors(value, known)) {
      if (value instanceof ObjectNode) refuseUnknownMaker(value, quote(path), known);
      taken.refuse(path, leaf.isModule ? packedModule(value, path) : tensorsInside(value, fromTop));
    } else {
      leaveOut(leaf, fromTop, known, values, outside);
    }
  }
}

/** A module that pickles itself in a form of its own, as those of torch.ao.nn.quantized do, must not be lost. */
function packedModule(value: PickleValue, path: string): SafetensorsError {
  const name = value instanceof ObjectNode ? value.className : kindOf(value);
  const text = `the module ${quote(path)} of ${quote(name)} has its tensors in a form of its own; save the model's state_dict()`;
  return new SafetensorsError("UNSUPPORTED", text, { kind: "torch-object" });
}

/** What lies among the tensors, is none, and has some in it, would be lost. */
function tensorsInside(value: PickleValue, path: string): SafetensorsError {
  const text = `there are tensors inside of ${quote(path)} (${kindOf(value)}), which would be lost; exclude it${keyAdvice(value)}`;
  return new SafetensorsError("UNSUPPORTED", text, { kind: "torch-object" });
}

/** Notes what is not taken. Of what is apart in modules, only tensors matter, and packed ones: `(weight, bias)`. */
function leaveOut(
  { value, apart }: Leaf,
  path: string,
  known: Known,
  values: LeftOutList,
  outside: LeftOutList,
): void {
  if (isTensor(value)) outside.note(path, apart === undefined ? kindOf(value) : `tensor, ${apart}`);
  else if (apart !== undefined) {
    if (isPacked(value)) outside.note(path, `${kindOf(value)} with tensors, ${apart}`);
  } else if (holdsTensors(value, known)) {
    outside.note(path, `${kindOf(value)} with tensors`);
  } else values.add(path, value);
}

/** Whether tensors are in a value that is neither one nor a container. A storage by itself is what tensors are views of. */
function holdsTensors(value: PickleValue, known: Known): boolean {
  return !isContainer(value) && !(value instanceof StorageNode) && reachesTensor(value, allParts, known);
}

/** Whether a tensor is near in an attribute: in a tuple, or in the state of an object (`torch.ScriptObject`). */
function isPacked(value: PickleValue): boolean {
  const near: PickleValue[] = [value];
  for (let index = 0; index < near.length && index < MAX_NEAR; index++) {
    const next = near[index]!;
    if (isTensor(next)) return true;
    const parts = next instanceof ObjectNode ? next.states : next instanceof PyTuple ? next.items : [];
    for (const part of parts.slice(0, MAX_NEAR)) near.push(part);
  }
  return false;
}

/** The tensors of the checkpoint, as they come. */
class TakenTensors {
  readonly tensors: Map<string, ReadableTensor> = new Map();
  readonly renamed: Map<string, readonly string[]> = new Map();
  readonly remade: LeftOutList = new LeftOutList();
  readonly classes: Set<string> = new Set();
  readonly #options: SelectOptions;
  readonly #isWanted: (name: string, whole?: string) => boolean;
  #nameLength = 0;

  constructor(options: SelectOptions) {
    this.#options = options;
    this.#isWanted = wantedTest(options.include, options.exclude);
  }

  /** Takes a tensor in the form that the options ask for. */
  add(name: string, value: PickleValue): void {
    const tensor = tensorOf(value)!;
    const form = formOf(tensor, name, this.#options);
    if (form instanceof SafetensorsError) return this.refuse(name, form);
    const parts = Array.from(form, ([suffix, part]) => [`${name}${suffix}`, part] as const);
    const isWhole = parts.length === 1 && parts[0]![0] === name;
    if (!isWhole && !parts.some(([part]) => this.#isWanted(part, name))) return this.#leaveOut(name);
    const clash = parts.find(([part]) => this.tensors.has(part) && !this.#gaveWay(part));
    if (clash) {
      const text = `two tensors get the name ${quote(clash[0])}`;
      const error = new SafetensorsError("AMBIGUOUS", text, { tensor: clash[0] });
      if (parts.some(([part]) => this.#isWanted(part, name))) throw error;
      return this.#leaveOut(name);
    }
    for (const [partName, part] of parts) {
      this.tensors.set(partName, part);
      this.#countName(partName);
    }
    if (!isWhole) {
      this.renamed.set(
        name,
        parts.map(([part]) => part),
      );
    }
    if (isArray(value)) this.remade.note(name, "NumPy array");
    else if (tensor instanceof DerivedTensor) this.remade.note(name, tensor.derivation.what);
    else if (tensor instanceof CompositeTensor) this.remade.note(name, tensor.what);
  }

  /** Throws the reason why there can be no tensor of that name, unless it need not be had. */
  refuse(name: string, reason: SafetensorsError): void {
    if (this.#isWanted(name)) throw reason;
    this.#leaveOut(name);
  }

  #leaveOut(name: string): void {
    this.renamed.set(name, []);
    this.#countName(name);
  }

  /** Whether the tensor of a name need not be had, so that another one may have the name. */
  #gaveWay(name: string): boolean {
    if (this.#isWanted(name) || this.renamed.has(name)) return false;
    this.#leaveOut(name);
    return true;
  }

  #countName(name: string): void {
    this.#nameLength += name.length;
    if (this.#nameLength > MAX_HEADER_BYTES)
      throw limitError("MAX_HEADER_BYTES", "the names of the tensors would fill more than any header");
  }
}

/** Why the path to a tensor can be no name, if so. */
function nameFault({ path, unnamed }: Leaf): string | undefined {
  if (unnamed !== undefined)
    return `the tensor ${quote(path)} has a key that is neither text nor an int: ${unnamed}`;
  return /\p{Surrogate}/u.test(path)
    ? `the tensor name ${quote(path)} holds half of a surrogate pair`
    : undefined;
}

/** An unknown function that gets a tensor or a storage probably makes a tensor, which must not be lost. */
function refuseUnknownMaker(node: ObjectNode, where: string, known: Known): void {
  const { args, kwargs } = node;
  if (!reachesTensor(args, allParts, known) && !reachesTensor(kwargs ?? null, allParts, known)) return;
  const maker = node.className;
  throw new SafetensorsError(
    "FORBIDDEN_GLOBAL",
    `${where} needs ${quote(maker)}, which is not on the allow-list`,
    {
      global: maker,
    },
  );
}

function nothingTaken({ listed: [first] }: LeftOut): string {
  if (!first) return "there are no tensors in the file";
  return `there are no tensors in the state dict of the modules, but at ${quote(first.path)} there is: ${first.kind}`;
}

function noTensors(reason: string): SafetensorsError {
  return new SafetensorsError("TENSOR_NOT_FOUND", reason);
}

class LeftOutList {
  #count = 0;
  readonly #listed: { path: string; kind: string }[] = [];

  add(path: string, value: PickleValue): void {
    this.note(path, isContainer(value) ? `${kindOf(value)} that contains itself` : kindOf(value));
  }

  note(path: string, kind: string): void {
    this.#count++;
    if (this.#listed.length < MAX_LISTED) this.#listed.push({ path, kind });
  }

  result(): LeftOut {
    return { count: this.#count, listed: this.#listed };
  }
}
