import { formatBytes, plural } from "./numbers.ts";
import { nameText } from "./text.ts";

/** What the tree shows of a tensor. */
export interface TreeTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** One line of the tree before its columns are aligned: label, dtype, shape or number of tensors, bytes. */
export type TreeRow = readonly [label: string, dtype: string, extent: string, bytes: string];

/** Parts that a name is split into; the rest of a longer one stays together, so that depth has a bound. */
const MAX_PARTS = 16;

interface Node {
  /** Undefined below a name's last part: most nodes are leaves, and maps are large. */
  children: Map<string, Node> | undefined;
  /** Tensors of exactly this name: more than one only where files repeat a name. */
  own: readonly TreeTensor[];
  tensors: number;
  bytes: number;
  /** The same number for nodes that look the same: same names, dtypes and shapes all the way down. */
  form: number;
}

/** Children that are shown as one: look-alikes with numbers that follow each other. */
interface Group {
  readonly label: string;
  readonly node: Node;
  readonly count: number;
}

/**
 * Groups tensors by the dotted parts of their names. Numbered neighbours that look the same, such as the layers of a
 * transformer, become one, `layers.0…31`; the tensors inside are then shown for one of them, with their number.
 */
export function treeRows(tensors: Iterable<TreeTensor>): Iterable<TreeRow> {
  const root = newNode();
  for (const tensor of tensors) insert(root, tensor);
  measure(root, new Map());
  return rowsBelow(root, undefined, 1);
}

const NONE: readonly TreeTensor[] = [];
const newNode = (): Node => ({ children: undefined, own: NONE, tensors: 0, bytes: 0, form: 0 });

function insert(root: Node, tensor: TreeTensor): void {
  let node = root;
  for (const part of splitName(tensor.name)) {
    node.children ??= new Map();
    let child = node.children.get(part);
    if (!child) {
      child = newNode();
      node.children.set(part, child);
    }
    node = child;
  }
  node.own = [...node.own, tensor];
}

function splitName(name: string): string[] {
  const parts = name.split(".");
  return parts.length <= MAX_PARTS
    ? parts
    : [...parts.slice(0, MAX_PARTS - 1), parts.slice(MAX_PARTS - 1).join(".")];
}

/** Fills in numbers of tensors, bytes and forms, from the leaves up. */
function measure(node: Node, forms: Map<string, number>): void {
  const looks = node.own.map(({ dtype, shape }) => `${dtype}[${shape}]`);
  node.tensors = node.own.length;
  node.bytes = node.own.reduce((sum, tensor) => sum + tensor.byteLength, 0);
  for (const [part, child] of node.children ?? []) {
    measure(child, forms);
    node.tensors += child.tensors;
    node.bytes += child.bytes;
    looks.push(`${JSON.stringify(part)}:${child.form}`);
  }
  const look = looks.sort().join();
  node.form = forms.get(look) ?? forms.size;
  forms.set(look, node.form);
}

/** @param indent what goes before the branches of this level; undefined at the top, which has none. */
function* rowsBelow(node: Node, indent: string | undefined, times: number): Iterable<TreeRow> {
  const groups = groupsOf(node);
  for (const [index, first] of groups.entries()) {
    const group = withOnlyDescendants(first);
    const isLast = index === groups.length - 1;
    const branch = indent === undefined ? "" : `${indent}${isLast ? "└─ " : "├─ "}`;
    const inner = indent === undefined ? "" : `${indent}${isLast ? "   " : "│  "}`;
    const label = branch + nameText(group.label);
    const total = times * group.count;
    for (const tensor of group.node.own) {
      const size = formatBytes(tensor.byteLength);
      yield [label, tensor.dtype, `[${tensor.shape.join(", ")}]`, total > 1 ? `${total} × ${size}` : size];
    }
    if (group.node.own.length === 0) {
      yield [label, "", plural(total * group.node.tensors, "tensor"), formatBytes(total * group.node.bytes)];
    }
    yield* rowsBelow(group.node, inner, total);
  }
}

/** Joins a group with what is below it as long as that is one group: `model.layers.0…31`. */
function withOnlyDescendants({ label, node, count }: Group): Group {
  while (node.own.length === 0) {
    const groups = groupsOf(node);
    const only = groups[0];
    if (!only || groups.length > 1) break;
    label += `.${only.label}`;
    node = only.node;
    count *= only.count;
  }
  return { label, node, count };
}

/** The children in their order, the numbered ones by number from where the first of them is. */
function groupsOf(node: Node): Group[] {
  const isNumber = (part: string): boolean => /^\d{1,15}$/.test(part);
  const numbered = [...(node.children ?? [])].filter(([part]) => isNumber(part));
  numbered.sort(([a], [b]) => Number(a) - Number(b));
  const groups: Group[] = [];
  let numbersDone = false;
  for (const [label, child] of node.children ?? []) {
    if (!isNumber(label)) {
      groups.push({ label, node: child, count: 1 });
    } else if (!numbersDone) {
      for (const run of runsOf(numbered)) groups.push(run);
      numbersDone = true;
    }
  }
  return groups;
}

function* runsOf(numbered: readonly (readonly [string, Node])[]): Generator<Group, void, undefined> {
  for (let start = 0; start < numbered.length; ) {
    const [first, node] = numbered[start]!;
    let end = start + 1;
    while (
      end < numbered.length &&
      Number(numbered[end]![0]) === Number(first) + end - start &&
      numbered[end]![1].form === node.form
    ) {
      end++;
    }
    const label = end - start === 1 ? first : `${first}…${numbered[end - 1]![0]}`;
    yield { label, node, count: end - start };
    start = end;
  }
}
