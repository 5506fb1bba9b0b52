import { quote, SafetensorsError } from "../errors.ts";
import { MAX_HEADER_BYTES } from "../limits.ts";
import { chooseContainer, type Place, wholeObject } from "./container.ts";
import { MAX_LISTED, MAX_PATHS_PER_OPCODE } from "./limits.ts";
import { ObjectNode } from "./pickle/containers.ts";
import { kindOf, type PickleNode, type PickleValue } from "./pickle/values.ts";
import { allParts, reachesTensor } from "./reach.ts";
import { RefusedTensor, type TensorNode } from "./tensor.ts";
import {
  type Container,
  isContainer,
  isTensor,
  joinPath,
  type Leaf,
  leaves,
  leavesOnce,
  limitError,
} from "./walk.ts";

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
  readonly tensors: ReadonlyMap<string, TensorNode>;
  /** Values that are not tensors. */
  readonly values: LeftOut;
  /** Tensors outside of the container. */
  readonly outside: LeftOut;
}

/**
 * Finds and names the tensors in what a pickle holds.
 *
 * @param opcodes of the pickle: what it may unfold to is measured by it
 * @param key the path of their container, see `chooseContainer`
 */
export function selectTensors(top: PickleValue, opcodes: number, key: string | undefined): Selection {
  const values = new LeftOutList();
  const outside = new LeftOutList();
  let container = "";
  let tensors: Map<string, TensorNode>;
  if (isTensor(top)) {
    tensors = new Map([["tensor", readable(top, "tensor")]]);
  } else {
    const place = chooseContainer(asContainer(top), key);
    container = place.path;
    tensors = flatten(place, opcodes * MAX_PATHS_PER_OPCODE, values);
    if (tensors.size === 0) throw noTensors("there are no tensors in the file");
    for (const { path, value } of leavesOnce(asContainer(top), new Set([place.container]))) {
      (isTensor(value) ? outside : values).add(path, value);
    }
  }
  return { container, tensors, values: values.result(), outside: outside.result() };
}

function asContainer(top: PickleValue): Container {
  if (isContainer(top)) return top;
  if (!(top instanceof ObjectNode))
    throw noTensors(`the file holds nothing but a value of the type ${kindOf(top)}`);
  refuseUnknownMaker(top, "the whole file", new Set());
  throw wholeObject(top, "");
}

/** Names every tensor below a container by its path there. */
function flatten(place: Place, maxPaths: number, values: LeftOutList): Map<string, TensorNode> {
  const tensors = new Map<string, TensorNode>();
  const barren = new Set<PickleNode>();
  let nameLength = 0;
  for (const leaf of leaves(place.container, maxPaths)) {
    const { path, value } = leaf;
    if (isTensor(value)) {
      checkName(leaf, tensors);
      tensors.set(path, readable(value, path));
      nameLength += path.length;
      if (nameLength > MAX_HEADER_BYTES) {
        throw limitError("MAX_HEADER_BYTES", "the names of the tensors would fill more than any header");
      }
    } else {
      if (value instanceof ObjectNode) refuseUnknownMaker(value, quote(path), barren);
      values.add(place.path === "" ? path : joinPath(place.path, path), value);
    }
  }
  return tensors;
}

function checkName({ path, unnamed }: Leaf, tensors: ReadonlyMap<string, TensorNode>): void {
  const fail = (reason: string) => new SafetensorsError("INVALID_NAME", reason, { tensor: path });
  if (unnamed !== undefined)
    throw fail(`the tensor ${quote(path)} has a key that is neither text nor an int: ${unnamed}`);
  if (/\p{Surrogate}/u.test(path))
    throw fail(`the tensor name ${quote(path)} holds half of a surrogate pair`);
  if (tensors.has(path)) {
    throw new SafetensorsError("AMBIGUOUS", `two tensors get the name ${quote(path)}`, { tensor: path });
  }
}

function readable(tensor: TensorNode | RefusedTensor, name: string): TensorNode {
  if (!(tensor instanceof RefusedTensor)) return tensor;
  throw new SafetensorsError(tensor.code, `tensor ${quote(name)} ${tensor.reason}`, {
    tensor: name,
    ...(tensor.global === undefined ? {} : { global: tensor.global }),
  });
}

/** An unknown function that gets a tensor or a storage probably makes a tensor, which must not be lost. */
function refuseUnknownMaker(node: ObjectNode, where: string, barren: Set<PickleNode>): void {
  const { args, kwargs } = node;
  if (!reachesTensor(args, allParts, barren) && !reachesTensor(kwargs ?? null, allParts, barren)) return;
  const maker = node.className;
  throw new SafetensorsError(
    "FORBIDDEN_GLOBAL",
    `${where} needs ${quote(maker)}, which is not on the allow-list`,
    {
      global: maker,
    },
  );
}

function noTensors(reason: string): SafetensorsError {
  return new SafetensorsError("TENSOR_NOT_FOUND", reason);
}

class LeftOutList {
  #count = 0;
  readonly #listed: { path: string; kind: string }[] = [];

  add(path: string, value: PickleValue): void {
    this.#count++;
    if (this.#listed.length === MAX_LISTED) return;
    const kind = isContainer(value) ? `${kindOf(value)} that contains itself` : kindOf(value);
    this.#listed.push({ path, kind });
  }

  result(): LeftOut {
    return { count: this.#count, listed: this.#listed };
  }
}
