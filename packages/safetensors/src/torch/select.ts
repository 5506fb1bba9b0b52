import { quote, SafetensorsError } from "../errors.ts";
import { MAX_HEADER_BYTES } from "../limits.ts";
import { chooseContainer, type Place, wholeObject } from "./container.ts";
import { MAX_LISTED } from "./limits.ts";
import { ObjectNode } from "./pickle/containers.ts";
import { kindOf, type PickleNode, type PickleValue } from "./pickle/values.ts";
import { allParts, reachesTensor } from "./reach.ts";
import { RefusedTensor, type TensorNode } from "./tensor.ts";
import { isContainer, isTensor, joinPath, type Leaf, leaves } from "./walk.ts";

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

/** Finds and names the tensors in what a pickle holds. `key` is the path of their container, see `chooseContainer`. */
export function selectTensors(top: PickleValue, key?: string): Selection {
  const values = new LeftOutList();
  const outside = new LeftOutList();
  if (isTensor(top)) {
    return { container: "", tensors: new Map([["tensor", readable(top, "tensor")]]), values, outside };
  }
  if (top instanceof ObjectNode) {
    refuseUnknownMaker(top, "the whole file", new Set());
    throw wholeObject(top, "");
  }
  if (!isContainer(top)) {
    throw new SafetensorsError(
      "TENSOR_NOT_FOUND",
      `the file holds nothing but a value of the type ${kindOf(top)}`,
    );
  }
  const place = chooseContainer(top, key);
  const tensors = flatten(place, values);
  if (tensors.size === 0) throw new SafetensorsError("TENSOR_NOT_FOUND", "there are no tensors in the file");
  if (place.container !== top) {
    for (const { path, value } of leaves(top, new Set<PickleNode>([place.container]))) {
      (isTensor(value) ? outside : values).add(path, value);
    }
  }
  return { container: place.path, tensors, values, outside };
}

/** Names every tensor below a container by its path there. */
function flatten(place: Place, values: LeftOutList): Map<string, TensorNode> {
  const tensors = new Map<string, TensorNode>();
  const barren = new Set<PickleNode>();
  let nameLength = 0;
  for (const leaf of leaves(place.container)) {
    const { path, value } = leaf;
    if (isTensor(value)) {
      checkName(leaf, tensors);
      tensors.set(path, readable(value, path));
      nameLength += path.length;
      if (nameLength > MAX_HEADER_BYTES) {
        throw new SafetensorsError(
          "LIMIT_EXCEEDED",
          "the names of the tensors would fill more than any header",
          {
            limit: "MAX_HEADER_BYTES",
          },
        );
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

class LeftOutList implements LeftOut {
  count = 0;
  readonly listed: { path: string; kind: string }[] = [];

  add(path: string, value: PickleValue): void {
    this.count++;
    if (this.listed.length < MAX_LISTED) {
      this.listed.push({
        path,
        kind: isContainer(value) ? `${kindOf(value)} that contains itself` : kindOf(value),
      });
    }
  }
}
