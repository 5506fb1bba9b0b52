import type { ByteSource } from "../source/source.ts";
import { Column } from "./column.ts";
import { sortedOrder } from "./sort.ts";
import { forEachPlace, isInOrder, leadBits, spanBits, type Transfer } from "./transfer.ts";
import type { UnitGroup } from "./units.ts";

/** What units that are alike have in common, worked out once. */
interface Kind {
  readonly transfer: Transfer;
  readonly lead: number;
  readonly span: number;
  readonly inOrder: boolean;
}

/** The units of one source as columns: a plan may have millions. */
export class UnitList {
  readonly source: ByteSource;
  readonly #kinds: Kind[] = [];
  readonly #tensor = new Column();
  readonly #kind = new Column();
  readonly #sourceAt = new Column();
  readonly #targetAt = new Column();

  constructor(source: ByteSource) {
    this.source = source;
  }

  get length(): number {
    return this.#tensor.length;
  }

  /** Adds units of a tensor, from places in the source and in the destination on, in bits. */
  add(
    tensor: number,
    { unit, repeats, source, target }: UnitGroup,
    sourceAt: number,
    targetAt: number,
  ): void {
    if (this.#kinds.at(-1)?.transfer !== unit) {
      const [lead, span, inOrder] = [leadBits(unit), spanBits(unit), isInOrder(unit)];
      this.#kinds.push({ transfer: unit, lead, span, inOrder });
    }
    forEachPlace(repeats, sourceAt + source, targetAt + target, (from, to) => {
      this.#tensor.push(tensor);
      this.#kind.push(this.#kinds.length - 1);
      this.#sourceAt.push(from);
      this.#targetAt.push(to);
    });
  }

  /** Puts the units in the order of the source. */
  sort(): void {
    const starts = new Float64Array(this.length);
    for (let place = 0; place < starts.length; place++) starts[place] = this.#start(place);
    const order = sortedOrder(starts);
    for (const column of [this.#tensor, this.#kind, this.#sourceAt, this.#targetAt]) column.reorder(order);
  }

  /** First byte of the source of which the unit needs something. */
  firstByte(place: number): number {
    return Math.floor(this.#start(place) / 8);
  }

  /** The byte behind the last one of which the unit needs something. */
  endByte(place: number): number {
    return Math.ceil((this.#start(place) + this.#kindOf(place).span) / 8);
  }

  /** Number of the tensor that the unit belongs to. */
  tensor(place: number): number {
    return this.#tensor.get(place);
  }

  /** What the unit moves. */
  transfer(place: number): Transfer {
    return this.#kindOf(place).transfer;
  }

  /** Bit of the unit's index zero in the source. */
  sourceAt(place: number): number {
    return this.#sourceAt.get(place);
  }

  /** Bit of the unit's index zero in the destination. */
  targetAt(place: number): number {
    return this.#targetAt.get(place);
  }

  /** Whether the unit is whole bytes in the order in which they are wanted, so that they can be read into place. */
  isInPlace(place: number): boolean {
    const { inOrder, span } = this.#kindOf(place);
    return inOrder && span % 8 === 0 && this.#start(place) % 8 === 0 && this.targetAt(place) % 8 === 0;
  }

  #start(place: number): number {
    return this.sourceAt(place) - this.#kindOf(place).lead;
  }

  #kindOf(place: number): Kind {
    return this.#kinds[this.#kind.get(place)]!;
  }
}
