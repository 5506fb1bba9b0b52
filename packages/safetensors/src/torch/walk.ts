import { quote, SafetensorsError } from "../errors.ts";
import { MAX_CONTAINER_DEPTH } from "../limits.ts";
import { MAX_NAME_LENGTH } from "./limits.ts";
import { PyBytes, PyDict, PyList, PyTuple } from "./pickle/containers.ts";
import { kindOf, type PickleNode, type PickleValue } from "./pickle/values.ts";
import { RefusedTensor, TensorNode } from "./tensor.ts";

/** What tensors are looked for in. */
export type Container = PyDict | PyList | PyTuple;

export function isContainer(value: PickleValue): value is Container {
  return value instanceof PyDict || value instanceof PyList || value instanceof PyTuple;
}

export function isTensor(value: PickleValue): value is TensorNode | RefusedTensor {
  return value instanceof TensorNode || value instanceof RefusedTensor;
}

/** A value in a container, under the key as it can stand in a path. */
export interface Child {
  readonly key: string;
  /** Whether the key is text or an int, as the keys above a tensor must be. */
  readonly named: boolean;
  readonly value: PickleValue;
}

/** What is in a container, in order. */
export function* children(container: Container): IterableIterator<Child> {
  if (container instanceof PyDict) {
    for (const [key, value] of container.entries()) yield { key: keyText(key), named: isName(key), value };
    return;
  }
  let index = 0;
  for (const value of container.items) yield { key: String(index++), named: true, value };
}

/** Text, ints, and text that Python 2 wrote. */
function isName(key: PickleValue): boolean {
  return (
    typeof key === "string" || typeof key === "number" || typeof key === "bigint" || key instanceof PyBytes
  );
}

function keyText(key: PickleValue): string {
  if (typeof key === "string") return key;
  if (key instanceof PyBytes) return decodeBytes(key.bytes);
  return isName(key) ? String(key) : `<${kindOf(key)}>`;
}

function decodeBytes(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return String.fromCharCode(...bytes);
  }
}

/** `a.b`: the path of a child, or of a child of the top. */
export function joinPath(above: string | undefined, key: string): string {
  const path = above === undefined ? key : `${above}.${key}`;
  if (path.length <= MAX_NAME_LENGTH) return path;
  throw limitError("MAX_NAME_LENGTH", `a path of ${path.length} characters, ${quote(path)}`);
}

/** A `LIMIT_EXCEEDED` error. */
export function limitError(limit: string, reason: string): SafetensorsError {
  return new SafetensorsError("LIMIT_EXCEEDED", reason, { limit });
}

/** A value below a container that is no container itself, or one that the walk has come from: a cycle. */
export interface Leaf {
  readonly path: string;
  /** The first key on the path that can be no part of a name. */
  readonly unnamed: string | undefined;
  readonly value: PickleValue;
}

interface Frame {
  readonly container: Container;
  readonly items: Iterator<Child>;
  readonly path: string | undefined;
  readonly unnamed: string | undefined;
}

/** All leaves below a container, by their paths: what is in a container that is there twice has two. */
export function leaves(top: Container, maxPaths: number): IterableIterator<Leaf> {
  return walk(top, maxPaths, undefined);
}

/** The leaves with one path for each container. Containers in `seen` are not entered; those that are entered join it. */
export function leavesOnce(top: Container, seen: Set<PickleNode>): IterableIterator<Leaf> {
  return walk(top, Number.POSITIVE_INFINITY, seen);
}

function* walk(top: Container, maxPaths: number, seen: Set<PickleNode> | undefined): IterableIterator<Leaf> {
  /** Where not to go: the containers above, or all that were seen. */
  const entered = seen ?? new Set<PickleNode>();
  const frames: Frame[] = [];
  const enter = (container: Container, path: string | undefined, unnamed: string | undefined) => {
    if (frames.length >= MAX_CONTAINER_DEPTH)
      throw limitError("MAX_CONTAINER_DEPTH", "containers nest too deep");
    entered.add(container);
    frames.push({ container, items: children(container), path, unnamed });
  };
  if (!entered.has(top)) enter(top, undefined, undefined);
  let paths = 0;
  for (let frame = frames.at(-1); frame; frame = frames.at(-1)) {
    const next = frame.items.next();
    if (next.done) {
      if (!seen) entered.delete(frame.container);
      frames.pop();
      continue;
    }
    if (++paths > maxPaths) throw limitError("MAX_PATHS_PER_OPCODE", "shared containers make too many paths");
    const { key, named, value } = next.value;
    const path = joinPath(frame.path, key);
    const unnamed = frame.unnamed ?? (named ? undefined : key);
    if (!isContainer(value)) yield { path, unnamed, value };
    else if (!entered.has(value)) enter(value, path, unnamed);
    else if (!seen) yield { path, unnamed, value };
  }
}
