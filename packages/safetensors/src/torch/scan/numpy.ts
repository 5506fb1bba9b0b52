import { SafetensorsError } from "../../errors.ts";
import { MAX_NPY_HEADER_BYTES } from "../../limits.ts";
import { itemType } from "../../numpy/descr.ts";
import { isNpy } from "../../numpy/header.ts";
import { type PythonLiteral, parseLiteral } from "../../numpy/literal.ts";
import { MAX_STACKED_PICKLES } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import type { Part, Scan } from "./part.ts";
import { scanPickles } from "./pickles.ts";

/** Bytes that hold most headers. */
const FIRST_READ = 256;

/**
 * Scans a `.npy` file (NumPy's format versions 1 to 3): an array of Python objects is a pickle. numpy.load takes one array
 * at each call, so that several may follow each other, or anything else that it takes.
 */
export async function scanNpy(scan: Scan, part: Part): Promise<void> {
  const arrays = new Arrays(scan, part);
  const { at, isPickle } = await arrays.pass(0);
  if (isPickle) {
    const bytesAfter = async (_index: number, _result: unknown, end: number): Promise<number> =>
      (await arrays.pass(end)).at - end;
    await scanPickles(scan, part, "loaded", { at, bytesAfter });
  } else if (at < part.source.size) {
    await scanPickles(scan, part, "data", { at });
  }
}

/** A place in a file. */
interface Place {
  readonly at: number;
  /** Whether an array of objects begins there. */
  readonly isPickle: boolean;
}

/** Arrays that follow each other in a file. */
class Arrays {
  readonly #scan: Scan;
  readonly #part: Part;
  #count = 0;

  constructor(scan: Scan, part: Part) {
    this.#scan = scan;
    this.#part = part;
  }

  /** Passes over arrays of plain items, up to the end, to objects, or to what is not understood. */
  async pass(start: number): Promise<Place> {
    const { size } = this.#part.source;
    let at = start;
    while (at < size) {
      const place = await this.#next(at);
      if (typeof place !== "number") return place;
      at = place;
    }
    return { at: size, isPickle: false };
  }

  /** The end of an array of plain items, or where something else begins. */
  async #next(start: number): Promise<number | Place> {
    const { size } = this.#part.source;
    const head = await this.#scan.read(this.#part, start, Math.min(FIRST_READ, size - start));
    const version = head[6] ?? 0;
    const lengthEnd = version === 1 ? 10 : 12;
    const isArray = isNpy(head) && version >= 1 && version <= 3 && head[7] === 0 && head.length >= lengthEnd;
    if (!isArray) {
      const isFirst = start === 0;
      const what = isFirst ? "no valid header of a NumPy array" : `${size - start} bytes after an array`;
      return this.#stop("malformed-file", `has ${what}`, start);
    }
    if (++this.#count > MAX_STACKED_PICKLES)
      return this.#stop("limit", `holds more than ${MAX_STACKED_PICKLES} arrays in a row`, start);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
    const at = lengthEnd + start;
    const dataStart = at + length;
    if (dataStart > size) return this.#stop("malformed-file", "ends within the header of an array", start);
    if (length > MAX_NPY_HEADER_BYTES)
      return this.#stop("limit", `has a header of ${length} bytes`, start, dataStart);
    const header = await this.#scan.read(this.#part, at, length);
    const { item, shape } = readHeader(header, version);
    if (item === undefined || shape === undefined) {
      const message = "has a header of an array that can be read in several ways";
      return this.#stop("not-understood", message, at, dataStart);
    }
    if (item.hasObjects) return { at: dataStart, isPickle: true };
    this.#scan.report.addScanned(this.#part.where);
    const bytes = shape.reduce((product, axis) => product * axis, item.size);
    if (dataStart + bytes <= size) return dataStart + bytes;
    const message = `has ${size - dataStart} bytes of data, its header says ${bytes}`;
    return this.#stop("malformed-file", message, dataStart, size);
  }

  #stop(code: "malformed-file" | "not-understood" | "limit", message: string, at: number, next = at): Place {
    this.#scan.add(this.#part, code, message, { at });
    return { at: next, isPickle: false };
  }
}

/**
 * What a header says if it is written as numpy.save does, so that there is one way to read it: Python also takes
 * adjacent pieces of text, and NumPy types such as `1O`, `i4,O` and `object`.
 */
function readHeader(
  bytes: Uint8Array,
  version: number,
): { item?: ReturnType<typeof itemType>; shape?: readonly number[] } {
  try {
    // Names of fields may be UTF-8, and what they are plays no part.
    const header = parseLiteral(decodeLatin1(bytes), { longs: version < 3 });
    if (!(header instanceof Map) || header.size !== 3 || !header.has("fortran_order")) return {};
    const shape: PythonLiteral | undefined = header.get("shape");
    if (!Array.isArray(shape) || !shape.every((axis) => typeof axis === "number")) return {};
    return { item: itemType(header.get("descr")), shape };
  } catch (error) {
    if (error instanceof SafetensorsError) return {};
    throw error;
  }
}
