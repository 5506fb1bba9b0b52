/** Position of the first byte that is not valid UTF-8 (RFC 3629: no overlong forms, no surrogates), or -1. */
export function firstInvalidUtf8(bytes: Uint8Array): number {
  const end = bytes.length;
  let at = 0;
  while (at < end) {
    const lead = bytes[at]!;
    if (lead < 0x80) {
      at++;
      continue;
    }
    const following = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
    if (following === 0 || at + following >= end) return at;
    // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (bytes[at + 1]! < low || bytes[at + 1]! > high) return at;
    for (let i = 2; i <= following; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return at;
    at += following + 1;
  }
  return -1;
}

/** Order of two names by their UTF-8 bytes, which is code point order; JavaScript's own order is by UTF-16 units. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return codePointRank(left) - codePointRank(right);
  }
  return a.length - b.length;
}

/** Lifts surrogates (the halves of code points from U+10000) above the units U+E000 to U+FFFF. */
function codePointRank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
