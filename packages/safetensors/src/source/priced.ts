import type { ByteSource } from "./source.ts";

/** What makes plans read nothing that is not asked for, however many reads that takes. */
export const EXACT: NonNullable<ByteSource["cost"]> = { operation: 0, byte: 1e-9 };

/**
 * The same source, with other costs: plans choose by them between few large reads, which bring bytes that nobody asked for, and
 * many small ones. With `EXACT` they read what is asked for and nothing else: where bytes are paid for, or shared with others.
 */
export function priced(source: ByteSource, cost: NonNullable<ByteSource["cost"]>): ByteSource {
  const { size, name, readInto, view, close } = source;
  return {
    size,
    name,
    cost,
    read: (offset, length, options) => source.read(offset, length, options),
    ...(readInto && { readInto: readInto.bind(source) }),
    ...(view && { view: view.bind(source) }),
    ...(close && { close: close.bind(source) }),
  };
}
