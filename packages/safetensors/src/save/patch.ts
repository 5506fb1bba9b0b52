/** Other bytes for a part of a text. */
export interface Patch {
  readonly begin: number;
  readonly end: number;
  readonly text: string;
}

/**
 * A text with other bytes in some places, and its own everywhere else.
 *
 * @param patches in order, without overlaps.
 */
export function patched(bytes: Uint8Array, patches: readonly Patch[]): Uint8Array {
  const encoder = new TextEncoder();
  const texts = patches.map(({ text }) => encoder.encode(text));
  const removed = patches.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const added = texts.reduce((sum, { length }) => sum + length, 0);
  const result = new Uint8Array(bytes.length - removed + added);
  let from = 0;
  let to = 0;
  const copy = (part: Uint8Array): void => {
    result.set(part, to);
    to += part.length;
  };
  for (const [index, { begin, end }] of patches.entries()) {
    copy(bytes.subarray(from, begin));
    copy(texts[index]!);
    from = end;
  }
  copy(bytes.subarray(from));
  return result;
}
