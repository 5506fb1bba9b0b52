import type { StridedView } from "../view/view.ts";
import type { TensorIndex } from "./checkpoint.ts";

/** Tensors by name, in the order of the map. */
export class ViewIndex implements TensorIndex {
  readonly #views: ReadonlyMap<string, StridedView>;

  constructor(views: ReadonlyMap<string, StridedView>) {
    this.#views = views;
  }

  get size(): number {
    return this.#views.size;
  }

  names(): Iterable<string> {
    return this.#views.keys();
  }

  find(name: string): StridedView | undefined {
    return this.#views.get(name);
  }
}
