/**
 * The text forms of pickles, mostly of protocol 0. Each function gives `undefined` for what is malformed, and for what
 * Python's readers disagree about.
 */

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Up to here a loop beats the call of a TextDecoder. V8 makes longer texts that are added up of parts, which take more. */
const SHORT_TEXT = 12;

/** UTF-8 as Python decodes it in a pickle: half surrogate pairs may stand alone ("surrogatepass"). */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start <= SHORT_TEXT) {
    const text = decodeAscii(bytes, start, end);
    if (text !== undefined) return text;
  }
  const part = bytes.subarray(start, end);
  try {
    return utf8.decode(part);
  } catch {
    return decodeWithSurrogates(part);
  }
}

function decodeAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte > 0x7f) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Decodes each three-byte surrogate (ED A0 80 to ED BF BF) by itself, and what lies between them as UTF-8. */
function decodeWithSurrogates(bytes: Uint8Array): string | undefined {
  const parts: string[] = [];
  let start = 0;
  try {
    for (let at = bytes.indexOf(0xed); at >= 0; at = bytes.indexOf(0xed, at + 1)) {
      const second = bytes[at + 1] ?? 0;
      const third = bytes[at + 2] ?? 0;
      if (second < 0xa0 || second > 0xbf || (third & 0xc0) !== 0x80) continue;
      parts.push(utf8.decode(bytes.subarray(start, at)));
      parts.push(String.fromCharCode(0xd000 | ((second & 0x3f) << 6) | (third & 0x3f)));
      start = at + 3;
    }
    parts.push(utf8.decode(bytes.subarray(start)));
  } catch {
    return undefined;
  }
  return joinApart(parts);
}

/** Joins parts, unless two halves of a surrogate pair would meet: Python keeps them apart, JavaScript cannot. */
function joinApart(parts: readonly string[]): string | undefined {
  const text = parts.join("");
  const pairs = (part: string) => part.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0;
  const before = parts.reduce((sum, part) => sum + pairs(part), 0);
  return pairs(text) === before ? text : undefined;
}

/** Bytes as characters of the same number (Latin-1). */
export function decodeLatin1(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 4096)
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 4096)));
  return parts.join("");
}

/** An int: a number where it is safe, a bigint otherwise. */
export function toInt(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A decimal int, without the forms that Python 2, Python 3 and C take for different numbers (`010`, `1_0`, ` 1`). */
export function parseInt10(text: string): number | bigint | undefined {
  return /^-?(?:0|[1-9][0-9]*)$/.test(text) ? toInt(BigInt(text)) : undefined;
}

/** A float as Python's repr writes it. Text that is too large for one is an error in C and infinity in Python. */
export function parseFloat10(text: string): number | undefined {
  if (/^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$/.test(text)) {
    return Number.isFinite(Number(text)) ? Number(text) : undefined;
  }
  const [, sign, special] = /^([-+]?)(inf|nan)$/.exec(text) ?? [];
  if (special === undefined) return undefined;
  if (special === "nan") return Number.NaN;
  return sign === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** A little-endian two's complement int of any length. */
export function decodeLong(bytes: Uint8Array): number | bigint {
  if (bytes.length === 0) return 0;
  let hex = "0x";
  for (let at = bytes.length - 1; at >= 0; at--) hex += bytes[at]!.toString(16).padStart(2, "0");
  return toInt(BigInt.asIntN(bytes.length * 8, BigInt(hex)));
}

const ESCAPES = new Map(
  Object.entries({ a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '"': 34, "'": 39, "\\": 92 }),
);

/** The bytes of a quoted Python 2 string literal, as STRING has it. */
export function parseQuoted(literal: string): Uint8Array | undefined {
  const quoteMark = literal[0];
  if (literal.length < 2 || !/^['"]/.test(literal) || literal.at(-1) !== quoteMark) return undefined;
  const bytes = new Uint8Array(literal.length);
  let length = 0;
  const piece = /\\(?:(["'\\abfnrtv])|x([0-9a-fA-F]{2})|([0-7]{1,3}))|[^\\]+/sy;
  const body = literal.slice(1, -1);
  while (piece.lastIndex < body.length) {
    const match = piece.exec(body);
    if (!match) return undefined;
    const [text, simple, hex, octal] = match;
    if (octal && parseInt(octal, 8) > 0xff) return undefined;
    if (simple) bytes[length++] = ESCAPES.get(simple)!;
    else if (hex) bytes[length++] = parseInt(hex, 16);
    else if (octal) bytes[length++] = parseInt(octal, 8);
    else for (let at = 0; at < text.length; at++) bytes[length++] = text.charCodeAt(at);
  }
  return bytes.subarray(0, length);
}

/** Text in the form "raw-unicode-escape", as UNICODE has it: Latin-1 with `\uXXXX` and `\UXXXXXXXX`. */
export function parseRawUnicode(line: string): string | undefined {
  const parts = line.split(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})/);
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index]!;
    const code = parseInt(part.slice(1), 16);
    // Python writes every backslash as an escape; readers disagree about others.
    if (index % 2 === 0 ? part.includes("\\") : code > 0x10ffff) return undefined;
    if (index % 2 === 1) parts[index] = String.fromCodePoint(code);
  }
  return joinApart(parts);
}
