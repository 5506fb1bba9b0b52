/** Text that has a meaning in a header: put in one place or another, it gives the errors that matter. */
const TOKENS = [
  ...'{}[]":,\\ \t\n\0é0123456789-+.eEuabdFU',
  ...[
    "null",
    "true",
    "1e2",
    "\\u0041",
    "\\ud83d",
    "U8",
    "F32",
    "F4",
    "[0,4]",
    ",[]",
    '"shape":[4],',
    "__metadata__",
  ],
].map((token) => Buffer.from(token));

/** `count` files, each one of `files` with one to three small changes in its header. The same ones in each run. */
export function mutants(files, count) {
  const random = mulberry32(42);
  const pick = (list) => list[Math.floor(random() * list.length)];
  return Array.from({ length: count }, () => {
    const file = pick(files);
    const dataStart = 8 + Number(file.readBigUInt64LE(0));
    let header = file.subarray(8, dataStart);
    for (let changes = 1 + Math.floor(random() * 3); changes > 0; changes--)
      header = change(header, random, pick);
    const length = Buffer.alloc(8);
    // Now and then the length is wrong too.
    length.writeBigUInt64LE(BigInt(header.length + (random() < 0.03 ? pick([-1, 1, 4]) : 0)));
    return Buffer.concat([length, header, file.subarray(dataStart)]);
  });
}

const between = (byte) => "{}[]:,".includes(String.fromCharCode(byte));
const isDigit = (byte) => byte >= 48 && byte <= 57;
const isLetter = (byte) => byte >= 97 && byte <= 122;

function change(header, random, pick) {
  const at = Math.floor(random() * header.length);
  const end = at + 1 + Math.floor(random() * 8);
  const instead = (text) => Buffer.concat([header.subarray(0, at), text, header.subarray(at + 1)]);
  switch (Math.floor(random() * 8)) {
    case 0: // one byte of any value
      return instead(Buffer.of(random() * 256));
    case 1: // a token instead of a byte
      return instead(pick(TOKENS));
    case 2: // a token more
      return Buffer.concat([header.subarray(0, at), pick(TOKENS), header.subarray(at)]);
    case 3: // a piece less
      return Buffer.concat([header.subarray(0, at), header.subarray(end)]);
    case 4: // a piece twice
      return Buffer.concat([header.subarray(0, end), header.subarray(at)]);
    // The others often leave the file valid.
    case 5: // space where space may be
      return replaceNext(header, at, between, (byte) => Buffer.of(byte, pick([9, 10, 13, 32])));
    case 6: // a letter as an escape
      return replaceNext(header, at, isLetter, (byte) => Buffer.from(`\\u00${byte.toString(16)}`));
    default: // a digit for another one
      return replaceNext(header, at, isDigit, () => Buffer.of(48 + random() * 10));
  }
}

/** Replaces the first byte from `from` on that is `wanted`. */
function replaceNext(header, from, wanted, replacement) {
  const found = header.subarray(from).findIndex(wanted);
  if (found < 0) return header;
  const at = from + found;
  return Buffer.concat([header.subarray(0, at), replacement(header[at]), header.subarray(at + 1)]);
}

/** A small random number generator (mulberry32): numbers from 0 to 1 that depend on the seed alone. */
export function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
