import { quote } from "../errors.ts";
import { layerOf, type Purpose, purposeOf } from "./layers.ts";
import { problem } from "./problem.ts";

/** A tensor and its bytes. */
export interface SizedTensor {
  readonly name: string;
  readonly byteLength: number;
}

/** A module, or a tensor in it. The root, the whole model, has the name "". */
export interface ModuleNode {
  readonly name: string;
  /** The module that it lies in. */
  readonly parent: ModuleNode | undefined;
  readonly children: Map<string, ModuleNode>;
  /** Bytes of all tensors in it. */
  bytes: number;
  /** Whether it is a tensor. In odd files a module may have the name of one: then they are the same thing. */
  isTensor: boolean;
  /** Whether there are modules in it. */
  hasModules: boolean;
}

/** Parts of a name: modules lie in each other less than 20 deep. */
const MAX_DEPTH = 64;

/** The modules of a model by the names of its tensors, in their order. `INVALID_SLICE` for a name of too many parts. */
export function moduleTree(tensors: Iterable<SizedTensor>): ModuleNode {
  const root = newNode("", undefined);
  for (const { name, byteLength } of tensors) {
    const parts = name.split(".");
    if (parts.length > MAX_DEPTH)
      throw problem(`tensor ${quote(name)} is in more than ${MAX_DEPTH} modules`, { tensor: name });
    let node = root;
    node.bytes += byteLength;
    for (const part of parts) {
      let child = node.children.get(part);
      if (!child) {
        child = newNode(node === root ? part : `${node.name}.${part}`, node);
        node.children.set(part, child);
      }
      child.bytes += byteLength;
      node = child;
    }
    node.isTensor = true;
    for (let module = node.parent; module?.parent && !module.parent.hasModules; module = module.parent)
      module.parent.hasModules = true;
  }
  return root;
}

function newNode(name: string, parent: ModuleNode | undefined): ModuleNode {
  return { name, parent, children: new Map(), bytes: 0, isTensor: false, hasModules: false };
}

/** The module or tensor of a name. */
export function nodeOf(root: ModuleNode, name: string): ModuleNode | undefined {
  return name.split(".").reduce<ModuleNode | undefined>((node, part) => node?.children.get(part), root);
}

/** Whether it is a module without modules. */
export function isLeaf(node: ModuleNode): boolean {
  return !node.isTensor && !node.hasModules;
}

/** What lies in a module, its own tensors before its modules. */
export function partsOf({ children }: ModuleNode): ModuleNode[] {
  const parts = [...children.values()];
  return [...parts.filter(({ isTensor }) => isTensor), ...parts.filter(({ isTensor }) => !isTensor)];
}

/** Visits a node and what is in it, modules before their parts. Trees are not deep. */
export function visit(node: ModuleNode, action: (node: ModuleNode) => void): void {
  action(node);
  for (const child of node.children.values()) visit(child, action);
}

const ORDER: readonly (readonly Purpose[])[] = [
  ["tower"],
  ["tokens"],
  ["positions"],
  ["first"],
  ["unknown"],
  ["layer"],
  ["last", "ahead"],
];

/**
 * Tensors in the order in which their modules work, as far as names tell it. Files often have them by name: the head
 * before the embeddings, layer 10 before layer 2.
 */
export function inModelOrder(tensors: Iterable<SizedTensor>): SizedTensor[] {
  const keyed = Array.from(tensors, (tensor) => {
    const purpose = purposeOf(tensor.name);
    const layer = purpose === "layer" ? layerOf(tensor.name) : undefined;
    const isDecoder = layer?.stack === "decoder" ? 1 : 0;
    const group = ORDER.findIndex((group) => group.includes(purpose));
    return { tensor, key: [group, isDecoder, layer?.index ?? 0] as const };
  });
  const compare = (a: readonly number[], b: readonly number[]): number => {
    const at = a.findIndex((value, i) => value !== b[i]);
    return at < 0 ? 0 : a[at]! - b[at]!;
  };
  return keyed.sort((a, b) => compare(a.key, b.key)).map(({ tensor }) => tensor);
}
