import type { ByteSource } from "../source/source.ts";
import { Column } from "./column.ts";
import { sortedOrder } from "./sort.ts";
import { leadBits, spanBits, type Transfer } from "./transfer.ts";

/** The units of one source as columns: a plan may have millions. */
export class UnitList {
  readonly source: ByteSource;
  readonly #transfers: Transfer[] = [];
  readonly #numbers = new Map<Transfer, number>();
  /** Of each transfer: bits before its index zero, and bits of its span. */
  readonly #leads: number[] = [];
  readonly #spans: number[] = [];
  readonly #transferOf = new Column();
  readonly #sourceAt = new Column();
  readonly #targetAt = new Column();
  /** The units in the order of the source, and the first bit that each reads: set by `sort`. */
  #order: Uint32Array = new Uint32Array(0);
  #starts: Float64Array = new Float64Array(0);

  constructor(source: ByteSource) {
    this.source = source;
  }

  get length(): number {
    return this.#sourceAt.length;
  }

  add(transfer: Transfer, source: number, target: number): void {
    this.#transferOf.push(this.#numbers.get(transfer) ?? this.#addTransfer(transfer));
    this.#sourceAt.push(source);
    this.#targetAt.push(target);
  }

  /** Puts the units in the order of the source. */
  sort(): void {
    const starts = new Float64Array(this.length);
    for (let unit = 0; unit < starts.length; unit++) {
      starts[unit] = this.#sourceAt.get(unit) - this.#leads[this.#transferOf.get(unit)]!;
    }
    this.#order = sortedOrder(starts);
    this.#starts = starts;
  }

  /** First bit that the unit at a place in the order reads. */
  start(place: number): number {
    return this.#starts[this.#order[place]!]!;
  }

  /** Bits from the unit's first to behind its last one. */
  span(place: number): number {
    return this.#spans[this.#transferOf.get(this.#order[place]!)]!;
  }

  transfer(place: number): Transfer {
    return this.#transfers[this.#transferOf.get(this.#order[place]!)]!;
  }

  /** Bit of the unit's index zero in the source. */
  sourceAt(place: number): number {
    return this.#sourceAt.get(this.#order[place]!);
  }

  /** Bit of the unit's index zero in the destination. */
  targetAt(place: number): number {
    return this.#targetAt.get(this.#order[place]!);
  }

  #addTransfer(transfer: Transfer): number {
    this.#numbers.set(transfer, this.#transfers.length);
    this.#leads.push(leadBits(transfer.axes));
    this.#spans.push(spanBits(transfer.axes, transfer.bits));
    return this.#transfers.push(transfer) - 1;
  }
}
