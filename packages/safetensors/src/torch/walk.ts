import { quote, SafetensorsError } from "../errors.ts";
import { MAX_CONTAINER_DEPTH } from "../limits.ts";
import { MAX_NAME_LENGTH } from "./limits.ts";
import { moduleParts, subclassItems, transientBuffers } from "./objects.ts";
import { ObjectNode, PyBytes, PyDict, PyList, PyTuple } from "./pickle/containers.ts";
import { kindOf, type PickleNode, type PickleValue } from "./pickle/values.ts";

/** What tensors are looked for in: containers of Python, and the objects that `isContainer` knows. */
export type Container = PyDict | PyList | PyTuple | ObjectNode;

/** Whether a value is a dict, a list, a tuple, an object of a subclass of dict or list, or a module. */
export function isContainer(value: PickleValue): value is Container {
  if (value instanceof PyDict || value instanceof PyList || value instanceof PyTuple) return true;
  return value instanceof ObjectNode && (moduleParts(value) ?? subclassItems(value)) !== undefined;
}

/** A value in a container, under the key as it can stand in a path. */
export interface Child {
  readonly key: string;
  /** Whether the key is text or an int, as the keys above a tensor must be. */
  readonly named: boolean;
  readonly value: PickleValue;
  /** For what is in a module, but not in its `state_dict()`: what it is. */
  readonly apart?: string | undefined;
  /** Whether it is below a module and should be one too. */
  readonly isModule?: boolean | undefined;
}

/** What is in a container, in order; of a module first what its `state_dict()` gives, in that order, or None for it. */
export function* children(container: Container): IterableIterator<Child> {
  if (container instanceof PyDict) {
    yield* items(container);
  } else if (container instanceof ObjectNode) {
    const parts = moduleParts(container);
    if (!parts) return yield* children(subclassItems(container)!);
    const transient = transientBuffers(parts);
    yield* items(parts.parameters);
    yield* items(parts.buffers, (key) => (transient.has(key) ? "buffer that is not persistent" : undefined));
    for (const child of items(parts.modules)) yield { ...child, isModule: true };
    yield* items(parts.attributes, () => "attribute of a module");
  } else {
    let index = 0;
    for (const value of container.items) yield { key: String(index++), named: true, value };
  }
}

function* items(dict: PyDict, apart?: (key: PickleValue) => string | undefined): IterableIterator<Child> {
  for (const [key, value] of dict.entries()) {
    yield { key: keyText(key), named: isName(key), value, apart: apart?.(key) };
  }
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

/**
 * A value below a container that is no container itself, or one that the walk has come from, a cycle; or anything that
 * is apart.
 */
export interface Leaf {
  readonly path: string;
  /** The first key on the path that can be no part of a name. */
  readonly unnamed: string | undefined;
  readonly value: PickleValue;
  /** As in `Child`. */
  readonly apart?: string | undefined;
  readonly isModule?: boolean | undefined;
}

interface Frame {
  readonly container: Container;
  readonly items: Iterator<Child>;
  readonly path: string | undefined;
  readonly unnamed: string | undefined;
}

/**
 * All leaves below a container, by their paths: what is in a container that is there twice has two.
 *
 * @param onContainer hears of each container that is entered, the top included.
 */
export function leaves(
  top: Container,
  maxPaths: number,
  onContainer?: (container: Container) => void,
): IterableIterator<Leaf> {
  return walk(top, maxPaths, undefined, onContainer);
}

/** The leaves with one path for each container. Containers in `seen` are not entered; those that are entered join it. */
export function leavesOnce(top: Container, maxPaths: number, seen: Set<PickleNode>): IterableIterator<Leaf> {
  return walk(top, maxPaths, seen);
}

function* walk(
  top: Container,
  maxPaths: number,
  seen: Set<PickleNode> | undefined,
  onContainer?: (container: Container) => void,
): IterableIterator<Leaf> {
  /** Where not to go: the containers above, or all that were seen. */
  const entered = seen ?? new Set<PickleNode>();
  const frames: Frame[] = [];
  const enter = (container: Container, path: string | undefined, unnamed: string | undefined) => {
    if (frames.length >= MAX_CONTAINER_DEPTH)
      throw limitError("MAX_CONTAINER_DEPTH", "containers nest too deep");
    entered.add(container);
    onContainer?.(container);
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
    const { key, named, value, apart, isModule } = next.value;
    const path = joinPath(frame.path, key);
    const unnamed = frame.unnamed ?? (named ? undefined : key);
    if (apart !== undefined || !isContainer(value)) yield { path, unnamed, value, apart, isModule };
    else if (!entered.has(value)) enter(value, path, unnamed);
    else if (!seen) yield { path, unnamed, value };
  }
}
