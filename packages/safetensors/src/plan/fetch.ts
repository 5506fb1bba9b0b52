import { readExactly } from "../source/read-into.ts";
import { copyTransfer } from "./copy.ts";
import type { PlannedRead } from "./merge.ts";
import { viewExactly } from "./view-exactly.ts";

/**
 * Makes a read and moves what it brings to where it belongs. Waits only if the source does.
 *
 * @param memoryOf the memory of a tensor.
 * @param buffer for reads that need one and sources that fill it.
 */
export function fetchRead(
  read: PlannedRead,
  memoryOf: (tensor: number) => Uint8Array,
  buffer: Uint8Array | undefined,
  signal: AbortSignal,
): void | Promise<void> {
  const { units, firstUnit, offset, length } = read;
  const { source } = units;
  const bytes = viewExactly(source, offset, length);
  if (bytes) return scatter(read, bytes, memoryOf);
  if (!source.readInto) {
    return readExactly(source, offset, length, { signal }).then((bytes) => scatter(read, bytes, memoryOf));
  }
  if (!buffer) {
    const start = units.targetAt(firstUnit) / 8;
    const target = memoryOf(units.tensor(firstUnit)).subarray(start, start + length);
    return source.readInto(offset, target, { signal });
  }
  const place = placeInBuffer(read);
  const span = buffer.subarray(place, place + length);
  const wait = source.readInto(offset, span, { signal });
  return wait ? wait.then(() => scatter(read, span, memoryOf)) : scatter(read, span, memoryOf);
}

/**
 * Where in the buffer a read goes, so that as many elements as possible are aligned there: as they are in the source
 * if its first element is aligned, else at the beginning.
 */
function placeInBuffer({ units, firstUnit, offset }: PlannedRead): number {
  const elementBytes = Math.max(units.transfer(firstUnit).bits / 8, 1);
  return offset % elementBytes === 0 ? offset % 8 : 0;
}

function scatter(
  { units, firstUnit, endUnit, offset }: PlannedRead,
  bytes: Uint8Array,
  memoryOf: (tensor: number) => Uint8Array,
): void {
  for (let place = firstUnit; place < endUnit; place++) {
    const at = units.sourceAt(place) - offset * 8;
    copyTransfer(bytes, at, memoryOf(units.tensor(place)), units.targetAt(place), units.transfer(place));
  }
}
