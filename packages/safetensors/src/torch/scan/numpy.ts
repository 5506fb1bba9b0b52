import type { Part, Scan } from "./part.ts";
import { scanPickles } from "./pickles.ts";

/** Bytes of a header that are read: NumPy itself refuses longer ones. */
const MAX_HEADER = 10_000;

/** Scans a `.npy` file (NumPy's format versions 1 to 3): an array of Python objects is a pickle. */
export async function scanNpy(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  const start = await scan.read(part, 0, Math.min(size, MAX_HEADER + 12));
  const view = new DataView(start.buffer, start.byteOffset, start.length);
  const wide = start[6] !== 1;
  const lengthEnd = wide ? 12 : 10;
  const length = start.length < lengthEnd ? size : wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const dataStart = lengthEnd + length;
  if (![1, 2, 3].includes(start[6]!) || start[7] !== 0 || dataStart > start.length)
    return scan.add(part, "malformed-file", "has no valid header of a NumPy array");
  const header = new TextDecoder().decode(start.subarray(lengthEnd, dataStart));
  const types = typesOf(header);
  if (types === undefined) {
    scan.add(part, "not-understood", "has a type of items that can be read in several ways", {
      at: lengthEnd,
    });
    await scanPickles(scan, part, "data", { at: dataStart });
    return;
  }
  // A type that is, or has a field that is, a Python object.
  if (types.some((type) => OBJECT.test(type))) {
    await scanPickles(scan, part, "loaded", { at: dataStart });
    return;
  }
  scan.report.addScanned(part.where);
  const bytes = arrayBytes(header);
  if (bytes !== undefined && dataStart + bytes !== size)
    scan.add(part, "malformed-file", `has ${size - dataStart} bytes of data, its header says ${bytes}`, {
      at: dataStart,
    });
}

/** Text in quotes of a header besides names of fields: its keys, and types. */
const WORD = /^(?:descr|fortran_order|shape|[<>|=]?(?:O\d*|[biufcSUVa]\d+|\?|b|[mM]8?(?:\[\w+\])?))$/;

const OBJECT = /^[<>|=]?O\d*$/;

/**
 * The types of the items if a header is written as NumPy writes it, so that each is seen: Python also takes escapes,
 * adjacent pieces of text, and types such as `1O`, `i4,O` and `object`.
 */
function typesOf(header: string): readonly string[] | undefined {
  if (/[\\"]|'\s*'/.test(header.replaceAll(/'', /g, "'_', "))) return undefined;
  // A name begins a field of a list; what begins a pair elsewhere is the type of a smaller array.
  const withoutNames = header.replaceAll(/(\[|\), )\('[^']*', ?(?='|\[\(|\(')/g, "$1(");
  const words = withoutNames.split("'").filter((_, index) => index % 2 === 1);
  return words.every((word) => WORD.test(word)) ? words : undefined;
}

/** Bytes of an array of plain items; nothing for structured types. */
function arrayBytes(header: string): number | undefined {
  const item = /'descr':\s*'[<>|=]?([a-zA-Z])(\d{1,9})(?:\[\w+\])?'/.exec(header);
  const shape = /'shape':\s*\(([\d, L]*)\)/.exec(header)?.[1];
  if (!item || shape === undefined) return undefined;
  // A character of Unicode text has four bytes.
  let bytes = Number(item[2]) * (item[1] === "U" ? 4 : 1);
  for (const [axis] of shape.matchAll(/\d+/g)) bytes *= Number(axis);
  return bytes;
}
