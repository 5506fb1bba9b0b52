import { bridgeableGap, copyableBytes } from "./cost.ts";
import type { UnitList } from "./unit-list.ts";

/** One read: a range of bytes of a source, and the units (by place in the list's order) that it serves. */
export interface PlannedRead {
  readonly units: UnitList;
  readonly firstUnit: number;
  readonly endUnit: number;
  readonly offset: number;
  readonly length: number;
  /** Whether it is one unit that can be read into place, so that it needs no memory of its own. */
  readonly inPlace: boolean;
  /** The tensors of which no earlier read of the plan brings anything. */
  readonly begins: number[];
}

/**
 * Reads that each serve as many neighbouring units as pays: neither are the gaps between them worth a read, nor the
 * copying of what could have been read into place. What they begin is for the plan to fill in.
 *
 * @param maxRead most bytes of one read; a unit that is longer is one nevertheless.
 */
export function* mergeIntoReads(units: UnitList, maxRead: number): Generator<PlannedRead, void, undefined> {
  const gap = bridgeableGap(units.source);
  const copyable = copyableBytes(units.source);
  for (let firstUnit = 0, endUnit = 0; firstUnit < units.length; firstUnit = endUnit) {
    const offset = units.firstByte(firstUnit);
    let end = units.endByte(firstUnit);
    const fitsInPlace = units.isInPlace(firstUnit);
    const staysAlone = fitsInPlace && end - offset > copyable;
    // Tensors that share bytes would else all come at once, however many they are.
    let room = 2 * maxRead - (end - offset);
    endUnit = firstUnit + 1;
    for (; endUnit < units.length && !staysAlone; endUnit++) {
      const nextStart = units.firstByte(endUnit);
      const nextEnd = units.endByte(endUnit);
      const merged = Math.max(end, nextEnd);
      room -= nextEnd - nextStart;
      if (nextStart - end > gap || merged - offset > maxRead || room < 0) break;
      if (nextEnd - nextStart > copyable && units.isInPlace(endUnit)) break;
      end = merged;
    }
    const inPlace = fitsInPlace && endUnit === firstUnit + 1;
    yield { units, firstUnit, endUnit, offset, length: end - offset, inPlace, begins: [] };
  }
}
