import type { ByteSource } from "../source/source.ts";
import { Column } from "./column.ts";
import { sortedOrder } from "./sort.ts";
import { isInOrder, leadBits, spanBits, type Transfer } from "./transfer.ts";

/** What units that are alike have in common, worked out once. */
interface Kind {
  readonly transfer: Transfer;
  readonly lead: number;
  readonly span: number;
  readonly inOrder: boolean;
}

/** The units of one source as columns: a plan may have millions. Places of bytes and bits are those in the source. */
export class UnitList {
  readonly source: ByteSource;
  readonly #kinds: Kind[] = [];
  readonly #kindOf = new Column();
  readonly #sourceAt = new Column();
  readonly #targetAt = new Column();

  constructor(source: ByteSource) {
    this.source = source;
  }

  get length(): number {
    return this.#sourceAt.length;
  }

  /** Adds a unit; units that share a transfer are added one after the other. */
  add(transfer: Transfer, source: number, target: number): void {
    if (this.#kinds.at(-1)?.transfer !== transfer) {
      const { axes, bits } = transfer;
      const inOrder = isInOrder(transfer);
      this.#kinds.push({ transfer, lead: leadBits(axes), span: spanBits(axes, bits), inOrder });
    }
    this.#kindOf.push(this.#kinds.length - 1);
    this.#sourceAt.push(source);
    this.#targetAt.push(target);
  }

  /** Puts the units in the order of the source. */
  sort(): void {
    const starts = new Float64Array(this.length);
    for (let place = 0; place < starts.length; place++) starts[place] = this.#start(place);
    const order = sortedOrder(starts);
    for (const column of [this.#kindOf, this.#sourceAt, this.#targetAt]) column.reorder(order);
  }

  /** First byte of which the unit needs something. */
  firstByte(place: number): number {
    return Math.floor(this.#start(place) / 8);
  }

  /** The byte behind the last one of which the unit needs something. */
  endByte(place: number): number {
    return Math.ceil((this.#start(place) + this.#kind(place).span) / 8);
  }

  transfer(place: number): Transfer {
    return this.#kind(place).transfer;
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
    const { inOrder, span } = this.#kind(place);
    return inOrder && span % 8 === 0 && this.#start(place) % 8 === 0 && this.targetAt(place) % 8 === 0;
  }

  #start(place: number): number {
    return this.sourceAt(place) - this.#kind(place).lead;
  }

  #kind(place: number): Kind {
    return this.#kinds[this.#kindOf.get(place)]!;
  }
}
