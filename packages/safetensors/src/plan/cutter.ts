import type { StridedView } from "../view/view.ts";
import { bridgeableGap } from "./cost.ts";
import { transferOf } from "./transfer.ts";
import { cutIntoUnits, type UnitGroup } from "./units.ts";

/** A piece of a tensor, the strides of the whole in elements, and what else decides how it is cut. */
interface Layout {
  readonly view: StridedView;
  readonly strides: readonly number[];
  readonly bits: number;
  readonly gap: number;
}

/** Cuts pieces into units. Those that lie like the one before are not worked out again: a plan may have millions. */
export class Cutter {
  readonly #maxRead: number;
  #last: Layout | undefined;
  #groups: readonly UnitGroup[] = [];

  constructor(maxRead: number) {
    this.#maxRead = maxRead;
  }

  /** @param strides strides of the whole tensor, in elements. */
  cut(view: StridedView, strides: readonly number[], bits: number): readonly UnitGroup[] {
    const layout = { view, strides, bits, gap: bridgeableGap(view.source) };
    if (!this.#last || !areAlike(layout, this.#last)) {
      this.#groups = cutIntoUnits(transferOf(view, strides, bits), layout.gap * 8, this.#maxRead * 8);
      this.#last = layout;
    }
    return this.#groups;
  }
}

function areAlike(a: Layout, b: Layout): boolean {
  return (
    a.bits === b.bits &&
    a.gap === b.gap &&
    areEqual(a.strides, b.strides) &&
    areEqual(a.view.shape, b.view.shape) &&
    areEqual(a.view.strides, b.view.strides)
  );
}

function areEqual(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
