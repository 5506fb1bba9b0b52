import type { StridedView } from "../view/view.ts";
import { bridgeableGap, isRemote } from "./cost.ts";
import { isInOrder, transferOf } from "./transfer.ts";
import { cutIntoUnits, type UnitGroup } from "./units.ts";

/** A piece of a tensor, the strides of the whole in elements, and what else decides how it is cut. */
interface Layout {
  readonly view: StridedView;
  readonly strides: readonly number[];
  readonly bits: number;
  readonly gap: number;
  /** Whether the source is on this machine and fills memory that it is given. */
  readonly fills: boolean;
}

/** Cuts pieces into units. Those that lie like the one before are not worked out again: a plan may have millions. */
export class Cutter {
  readonly #maxRead: number;
  readonly #maxInPlace: number;
  #last: Layout | undefined;
  #groups: readonly UnitGroup[] = [];

  constructor(maxRead: number, maxInPlace: number) {
    this.#maxRead = maxRead;
    this.#maxInPlace = maxInPlace;
  }

  /** @param strides strides of the whole tensor, in elements. */
  cut(view: StridedView, strides: readonly number[], bits: number): readonly UnitGroup[] {
    const { source } = view;
    const fills = source.readInto !== undefined && !source.view && !isRemote(source);
    const layout = { view, strides, bits, gap: bridgeableGap(source), fills };
    if (!this.#last || !areAlike(layout, this.#last)) {
      const transfer = transferOf(view, strides, bits);
      const isInPlace = fills && bits >= 8 && isInOrder(transfer);
      const most = isInPlace ? this.#maxInPlace : this.#maxRead;
      this.#groups = cutIntoUnits(transfer, layout.gap * 8, most * 8);
      this.#last = layout;
    }
    return this.#groups;
  }
}

function areAlike(a: Layout, b: Layout): boolean {
  return (
    a.bits === b.bits &&
    a.gap === b.gap &&
    a.fills === b.fills &&
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
