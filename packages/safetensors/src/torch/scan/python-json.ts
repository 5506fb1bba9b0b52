const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Numbers that Python's JSON has, and others have not, by their first byte. */
const ODD_NUMBERS: ReadonlyMap<number, Uint8Array> = new Map(
  ["NaN", "Infinity"].map((word) => [word.charCodeAt(0), new TextEncoder().encode(word)]),
);

/**
 * Reads JSON as Python's `json.loads` does, but for the values of numbers: NaN and infinities are numbers, too, and the
 * last of several entries of a key counts. Undefined for what is no JSON in UTF-8; Python takes some of that as well.
 */
export function parsePythonJson(bytes: Uint8Array): unknown {
  try {
    // Were bad bytes replaced, keys could become the same that are not.
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(withoutOddNumbers(bytes)));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/** The same text with 0 and spaces instead of NaN and Infinity. */
function withoutOddNumbers(bytes: Uint8Array): Uint8Array {
  const plain = bytes.slice();
  let isInText = false;
  for (let at = 0; at < plain.length; at++) {
    const byte = plain[at]!;
    if (byte === BACKSLASH) at++;
    else if (byte === QUOTE) isInText = !isInText;
    else if (!isInText) {
      const word = ODD_NUMBERS.get(byte);
      if (word?.every((letter, place) => plain[at + place] === letter))
        plain.fill(0x20, at, at + word.length).fill(0x30, at, at + 1);
    }
  }
  return plain;
}
