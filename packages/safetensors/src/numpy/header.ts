import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_NPY_DIMENSIONS, MAX_NPY_HEADER_BYTES } from "../limits.ts";
import { type ElementType, elementType } from "./descr.ts";
import { type PythonLiteral, parseLiteral } from "./literal.ts";

/** What a `.npy` file begins with. */
export const MAGIC = "\x93NUMPY";

/** Bytes that hold the headers that NumPy writes for plain dtypes of few dimensions. */
const FIRST_READ = 256;

/** What the header of an array says. */
export interface NpyHeader extends ElementType {
  readonly shape: readonly number[];
  /** Whether the first index is the one that moves fastest. */
  readonly fortranOrder: boolean;
  /** Where the elements begin. */
  readonly dataOffset: number;
}

/**
 * Reads the header of an array, versions 1.0, 2.0 and 3.0 (numpy.lib.format), and checks that its elements fill what
 * follows.
 *
 * @param read gives the first bytes of the file, as many as asked for.
 * @param size bytes of the file.
 */
export async function readNpyHeader(
  read: (length: number) => Promise<Uint8Array>,
  size: number,
): Promise<NpyHeader> {
  let bytes = await read(Math.min(size, FIRST_READ));
  const { textOffset, dataOffset, version } = readPrelude(bytes, size);
  if (dataOffset > bytes.length) bytes = await read(dataOffset);
  const text = decode(bytes.subarray(textOffset, dataOffset), version);
  // Python 2 wrote some numbers as 3L, and knew the first two versions only.
  const header = { ...readFields(parseLiteral(text, { longs: version < 3 })), dataOffset };
  checkSize(header, size);
  return header;
}

/** Signature, version, and the length of the text: two bytes in version 1, else four. */
function readPrelude(
  bytes: Uint8Array,
  size: number,
): { textOffset: number; dataOffset: number; version: number } {
  if (!isNpy(bytes)) throw invalid("it does not begin as a NumPy array does");
  const [version, minor] = [bytes[6] ?? 0, bytes[7] ?? 0];
  if (bytes.length > 7 && (version < 1 || version > 3 || minor !== 0)) {
    const text = `it has version ${version}.${minor} of the format; 1.0, 2.0 and 3.0 are known`;
    throw new SafetensorsError("UNSUPPORTED", text, { kind: "npy" });
  }
  const textOffset = version === 1 ? 10 : 12;
  if (bytes.length < textOffset) throw cutOff(textOffset, size);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_NPY_HEADER_BYTES) {
    throw new SafetensorsError("LIMIT_EXCEEDED", `its header has ${length} bytes`, {
      limit: "MAX_NPY_HEADER_BYTES",
    });
  }
  const dataOffset = textOffset + length;
  if (dataOffset > size) throw cutOff(dataOffset, size);
  return { textOffset, dataOffset, version };
}

/** Whether a file begins with the signature of an array. */
export function isNpy(head: Uint8Array): boolean {
  return head.length >= MAGIC.length && String.fromCharCode(...head.subarray(0, MAGIC.length)) === MAGIC;
}

function decode(bytes: Uint8Array, version: number): string {
  if (version === 3) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new SafetensorsError("INVALID_UTF8", "its header is not UTF-8", { cause });
    }
  }
  // The decoder that the web calls latin1 is another one.
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const KEYS = ["descr", "fortran_order", "shape"];

function readFields(literal: PythonLiteral): Omit<NpyHeader, "dataOffset"> {
  if (!(literal instanceof Map)) throw invalid("its header is no dict");
  const dict: ReadonlyMap<string, PythonLiteral> = literal;
  const keys = [...dict.keys()].sort();
  if (keys.length !== KEYS.length || !keys.every((key, place) => key === KEYS[place])) {
    const found = keys.slice(0, 8).map(quote).join(", ");
    throw invalid(
      `its header has the keys ${found || "of an empty dict"}, not descr, fortran_order and shape`,
    );
  }
  const fortranOrder = dict.get("fortran_order");
  if (typeof fortranOrder !== "boolean") throw invalid("its fortran_order is neither True nor False");
  return { ...elementType(dict.get("descr")!), fortranOrder, shape: readShape(dict.get("shape")!) };
}

function readShape(shape: PythonLiteral): readonly number[] {
  if (!Array.isArray(shape)) throw invalid("its shape is no tuple");
  if (shape.length > MAX_NPY_DIMENSIONS) {
    throw new SafetensorsError("LIMIT_EXCEEDED", `it has ${shape.length} dimensions`, {
      limit: "MAX_NPY_DIMENSIONS",
    });
  }
  if (!shape.every((size) => typeof size === "number"))
    throw invalid("its shape is not made of whole numbers");
  return shape;
}

function checkSize({ dtype, shape, dataOffset }: NpyHeader, size: number): void {
  // As NumPy does, a dimension of 0 excuses none of the others.
  const extent = shape.reduce((product, dimension) => product * Math.max(dimension, 1), 1);
  const itemBytes = DTYPES[dtype].bits / 8;
  if (!(extent * itemBytes <= Number.MAX_SAFE_INTEGER)) {
    throw new SafetensorsError("SIZE_OVERFLOW", `its shape [${shape}] is beyond 2^53 bytes`);
  }
  const end = dataOffset + elementCount(shape) * itemBytes;
  if (end > size) throw cutOff(end, size);
  if (end < size) {
    const text = `its ${dtype} of shape [${shape}] end at byte ${end}, ${size - end} more bytes follow`;
    throw new SafetensorsError("TRAILING_BYTES", text, { at: end });
  }
}

function cutOff(needed: number, size: number): SafetensorsError {
  return new SafetensorsError("TRUNCATED", `it needs ${needed} bytes and has ${size}`, { at: size });
}

function invalid(reason: string): SafetensorsError {
  return new SafetensorsError("INVALID_HEADER", reason);
}
