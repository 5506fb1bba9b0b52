import { isLeaf, type ModuleNode, partsOf } from "./module-tree.ts";

/** Bytes of a layer, and the place of the last one of so many. */
interface Largest {
  readonly bytes: number;
  readonly last: number;
}

/**
 * The largest layer that is still to come, which there has to be room for on some devices. Layers are modules that are
 * not split: those that have to be whole, and those without modules.
 *
 * As in accelerate, the answer is kept until its layer has come: a layer that was placed early, with another one that it
 * is tied to, counts on, until a module is split.
 */
export class LayerReserve {
  readonly #spans = new Map<ModuleNode, readonly [start: number, end: number]>();
  readonly #layers: ModuleNode[] = [];
  readonly #placed = new Set<number>();
  /** Of each place the largest layer from it on. */
  readonly #from: Largest[];
  #current: Largest;

  constructor(root: ModuleNode, isWhole: (node: ModuleNode) => boolean) {
    this.#number(root, isWhole);
    this.#from = new Array<Largest>(this.#layers.length + 1).fill({ bytes: 0, last: -1 });
    this.#update(0, this.#layers.length);
    this.#current = this.#from[0]!;
    for (const at of [...this.#placed].reverse()) {
      const { bytes } = this.#layers[at]!;
      if (bytes > this.#current.bytes) this.#current = { bytes, last: at };
    }
  }

  /** The largest layer after a module, which comes next. */
  after(node: ModuleNode): number {
    const [, end] = this.#spans.get(node)!;
    if (this.#current.last < end) this.#current = this.#from[end]!;
    return this.#current.bytes;
  }

  /** A module that comes next, or later, has been split: all that is to come is looked at again. */
  split(next: ModuleNode): void {
    this.#current = this.#from[this.#spans.get(next)![0]]!;
  }

  /** A module was placed before its turn. */
  place(node: ModuleNode): void {
    const [start, end] = this.#spans.get(node)!;
    for (let at = start; at < end; at++) {
      this.#placed.add(at);
      const { bytes } = this.#layers[at]!;
      if (bytes === this.#current.bytes) this.#current = { bytes, last: Number.POSITIVE_INFINITY };
    }
    this.#update(start, end);
  }

  #number(node: ModuleNode, isWhole: (node: ModuleNode) => boolean): void {
    const start = this.#layers.length;
    // Tensors outside all modules are layers until they have come, and never again.
    const isOutside = node.isTensor && node.parent?.parent === undefined;
    if (isOutside) this.#placed.add(start);
    const isLayer = node.isTensor ? isOutside : node.parent !== undefined && (isWhole(node) || isLeaf(node));
    if (isLayer) this.#layers.push(node);
    else if (!node.isTensor) for (const part of partsOf(node)) this.#number(part, isWhole);
    this.#spans.set(node, [start, this.#layers.length]);
  }

  /** Works out the largest layers anew, back from a place, where one or more have changed. */
  #update(start: number, end: number): void {
    for (let at = end - 1; at >= 0; at--) {
      const next = this.#from[at + 1]!;
      const { bytes } = this.#layers[at]!;
      const isLarger = !this.#placed.has(at) && (next.last < 0 || bytes > next.bytes);
      const largest = isLarger ? { bytes, last: at } : next;
      const known = this.#from[at]!;
      if (at < start && known.bytes === largest.bytes && known.last === largest.last) return;
      this.#from[at] = largest;
    }
  }
}
