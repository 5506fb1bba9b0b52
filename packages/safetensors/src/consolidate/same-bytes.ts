import { TensorHandle } from "../checkpoint/tensor.ts";
import type { ReadOptions } from "../source/source.ts";
import { byteLength } from "../view/view.ts";
import type { FilePart } from "./tile.ts";

/** Memory for the pieces that are compared at the same time. */
const BUFFER_BYTES = 16 << 20;
const MOST_AT_ONCE = 1 << 20;
const FEWEST_AT_ONCE = 4096;

/** The first part whose bytes are not those of the first one, if there is such; they have the same dtype and shape. */
export async function findDifferent(
  name: string,
  parts: readonly FilePart[],
  options: ReadOptions,
  onProgress: (bytes: number) => void = () => {},
): Promise<FilePart | undefined> {
  const [first, ...others] = parts;
  const share = Math.min(MOST_AT_ONCE, Math.max(FEWEST_AT_ONCE, Math.floor(BUFFER_BYTES / parts.length)));
  const chunksOf = ({ view }: FilePart): AsyncGenerator<Uint8Array> => {
    const buffer = new Uint8Array(Math.min(share, byteLength(view)));
    return new TensorHandle(name, view).chunks(buffer, options);
  };
  const otherChunks = others.map(chunksOf);
  for await (const chunk of chunksOf(first!)) {
    const next = await Promise.all(otherChunks.map((chunks) => chunks.next()));
    const different = next.findIndex(({ value }) => !areEqual(chunk, value!));
    if (different >= 0) return others[different];
    onProgress(chunk.length * parts.length);
  }
  return undefined;
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let i = 0;
  if (a.byteOffset % 4 === 0 && b.byteOffset % 4 === 0) {
    // Four bytes at once.
    const words = a.length >> 2;
    const [x, y] = [
      new Uint32Array(a.buffer, a.byteOffset, words),
      new Uint32Array(b.buffer, b.byteOffset, words),
    ];
    for (let word = 0; word < words; word++) if (x[word] !== y[word]) return false;
    i = words * 4;
  }
  for (; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
