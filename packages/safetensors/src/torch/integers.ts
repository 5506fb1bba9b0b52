/** 64-bit integers as numbers; those beyond 2^53 are rounded. */
export function integersOf(bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numbers = new Float64Array(bytes.length / 8);
  for (let index = 0; index < numbers.length; index++) {
    numbers[index] = view.getInt32(index * 8 + 4, true) * 2 ** 32 + view.getUint32(index * 8, true);
  }
  return numbers;
}
