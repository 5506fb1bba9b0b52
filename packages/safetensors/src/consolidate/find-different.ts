import { PieceTaker } from "../checkpoint/piece-taker.ts";
import { sameBytes } from "../checkpoint/same-bytes.ts";
import { TensorHandle } from "../checkpoint/tensor.ts";
import type { ReadOptions } from "../source/source.ts";
import { byteLength } from "../view/view.ts";
import type { FilePart } from "./tile.ts";

/** Memory for the pieces that are compared at the same time. */
const BUFFER_BYTES = 16 << 20;
const MOST_AT_ONCE = 1 << 20;
const FEWEST_AT_ONCE = 4096;

/** The first part whose bytes are not those of the first one, if there is such. Only those of the same size are read. */
export async function findDifferent(
  name: string,
  parts: readonly FilePart[],
  { signal }: ReadOptions,
  onProgress: (bytes: number) => void = () => {},
): Promise<FilePart | undefined> {
  const size = byteLength(parts[0]!.view);
  const other = parts.find(({ view }) => byteLength(view) !== size);
  if (other) return other;
  const share = Math.min(
    MOST_AT_ONCE,
    Math.max(FEWEST_AT_ONCE, Math.floor(BUFFER_BYTES / parts.length)),
    size,
  );
  const takers = parts.map(({ view }) => {
    return new PieceTaker(new TensorHandle(name, view), new Uint8Array(share), { signal });
  });
  try {
    for (let done = 0; done < size; done += share) {
      const length = Math.min(share, size - done);
      const [first, ...others] = await Promise.all(takers.map((taker) => taker.take(length)));
      const different = others.findIndex((piece) => !sameBytes(first!, piece));
      if (different >= 0) return parts[different + 1];
      onProgress(length * parts.length);
    }
    return undefined;
  } finally {
    await Promise.all(takers.map((taker) => taker.close()));
  }
}
