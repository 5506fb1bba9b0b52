import { DTYPE_INDEX, DTYPES, type Dtype } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_HEADER_BYTES } from "../limits.ts";
import { LENGTH_BYTES, type TensorInfo } from "./header.ts";
import { compareUtf8 } from "./utf8.ts";

/** What must be known of a tensor before a file can be begun. */
export interface TensorSpec {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Options of `encodeHeader`. */
export interface HeaderOptions {
  /** String metadata; written in the order of the keys' code points, so that the same input gives the same bytes. */
  readonly metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>> | undefined;
  /** The data starts at a multiple of this many bytes: a power of two, at least 8 (the default). */
  readonly alignment?: number | undefined;
  /**
   * At least this many bytes of room (spaces) at the end of the header, so that later edits fit without moving the data.
   * None unless said otherwise. The alignment may add some more; the whole header stays within `MAX_HEADER_BYTES`.
   */
  readonly reserve?: number | undefined;
}

/** A header that is ready to be written, and the order in which the data has to follow. */
export interface EncodedHeader {
  /** Length, JSON and padding. */
  readonly bytes: Uint8Array;
  /** The tensors in the order of their data: by falling dtype, then by name in code point order. */
  readonly tensors: readonly TensorInfo[];
  /** Bytes of data that follow the header. */
  readonly dataLength: number;
}

/**
 * Encodes the header of a file with these tensors, byte for byte as the reference does (with sorted metadata).
 *
 * @throws `INVALID_NAME`, `DUPLICATE_NAME`, `INVALID_TENSOR`, `MISALIGNED`, `SIZE_OVERFLOW`, `HEADER_TOO_LARGE`;
 *   `OUT_OF_RANGE` for a reserve that is no number of bytes
 */
export function encodeHeader(
  tensors: Iterable<readonly [name: string, spec: TensorSpec]>,
  options: HeaderOptions = {},
): EncodedHeader {
  const placed = placeTensors(sortTensors(tensors));
  const dataLength = placed.at(-1)?.dataOffsets[1] ?? 0;
  const members = placed.map(({ name, dtype, shape, dataOffsets }) => {
    return `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${dataOffsets}]}`;
  });
  if (options.metadata) members.unshift(`"__metadata__":${encodeMetadata(options.metadata)}`);
  const json = new TextEncoder().encode(`{${members.join(",")}}`);

  const alignment = options.alignment ?? 8;
  if (!(alignment >= 8 && Number.isInteger(Math.log2(alignment)))) {
    throw new SafetensorsError(
      "INVALID_TENSOR",
      `the alignment ${alignment} is not a power of two from 8 on`,
    );
  }
  const reserve = options.reserve ?? 0;
  if (!Number.isSafeInteger(reserve) || reserve < 0) {
    throw new SafetensorsError("OUT_OF_RANGE", `the reserve ${reserve} is not a number of bytes`);
  }
  const dataStart = Math.ceil((LENGTH_BYTES + json.length + reserve) / alignment) * alignment;
  const length = dataStart - LENGTH_BYTES;
  if (length > MAX_HEADER_BYTES) {
    const text = `the header takes ${length} bytes, at most ${MAX_HEADER_BYTES} can be read back; split the file`;
    throw new SafetensorsError("HEADER_TOO_LARGE", text, { limit: "MAX_HEADER_BYTES" });
  }
  const bytes = new Uint8Array(dataStart).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, LENGTH_BYTES);
  return { bytes, tensors: placed, dataLength };
}

type NamedSpec<S extends TensorSpec = TensorSpec> = readonly [name: string, spec: S];

/**
 * The tensors in the order in which a file has their data: by falling dtype, then by name in code point order.
 *
 * @throws `INVALID_NAME`, `DUPLICATE_NAME`
 */
export function sortTensors<S extends TensorSpec>(tensors: Iterable<NamedSpec<S>>): NamedSpec<S>[] {
  const seen = new Set<string>();
  const sorted: NamedSpec<S>[] = [];
  for (const tensor of tensors) {
    const [name] = tensor;
    checkText(name, "a tensor's name");
    if (name === "__metadata__") {
      throw new SafetensorsError(
        "INVALID_NAME",
        'no tensor can be named "__metadata__": a reader takes it for metadata',
        {
          tensor: name,
        },
      );
    }
    if (seen.has(name)) {
      throw new SafetensorsError("DUPLICATE_NAME", `tensor ${quote(name)} was given twice`, { tensor: name });
    }
    seen.add(name);
    sorted.push(tensor);
  }
  return sorted.sort(
    ([a, x], [b, y]) => DTYPE_INDEX.get(y.dtype)! - DTYPE_INDEX.get(x.dtype)! || compareUtf8(a, b),
  );
}

function placeTensors(sorted: readonly NamedSpec[]): TensorInfo[] {
  let offset = 0;
  return sorted.map(([name, { dtype, shape }]) => {
    const begin = offset;
    offset += checkedByteLength(name, dtype, shape);
    if (offset > Number.MAX_SAFE_INTEGER) {
      throw new SafetensorsError("SIZE_OVERFLOW", `the data is beyond 2^53 bytes at tensor ${quote(name)}`, {
        tensor: name,
      });
    }
    return { name, dtype, shape, dataOffsets: [begin, offset] };
  });
}

/**
 * Bytes of a tensor's data.
 *
 * @throws `INVALID_TENSOR`, `SIZE_OVERFLOW`, `MISALIGNED`
 */
export function checkedByteLength(name: string, dtype: Dtype, shape: readonly number[]): number {
  const fail = (code: "INVALID_TENSOR" | "SIZE_OVERFLOW" | "MISALIGNED", text: string): never => {
    throw new SafetensorsError(code, `tensor ${quote(name)} ${text}`, { tensor: name });
  };
  if (!Object.hasOwn(DTYPES, dtype)) fail("INVALID_TENSOR", `has the unknown dtype ${quote(String(dtype))}`);
  let elements = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) fail("INVALID_TENSOR", `has the dimension ${size}`);
    elements *= size;
    if (elements > Number.MAX_SAFE_INTEGER) fail("SIZE_OVERFLOW", `has more than 2^53 elements`);
  }
  const bytes = (elements * DTYPES[dtype].bits) / 8;
  if (!Number.isInteger(bytes))
    fail("MISALIGNED", `is ${dtype} of shape [${shape}], which does not end on a whole byte`);
  return bytes;
}

/**
 * The JSON of metadata, its keys in code point order.
 *
 * @throws `INVALID_NAME` for a value that is no string, and for text that UTF-8 cannot hold
 */
export function encodeMetadata(metadata: NonNullable<HeaderOptions["metadata"]>): string {
  const entries = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  const members = entries
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([key, value]) => {
      checkText(key, "a metadata key");
      if (typeof value !== "string") {
        throw new SafetensorsError(
          "INVALID_NAME",
          `metadata ${quote(key)} is not a string; encode it, for example as JSON`,
        );
      }
      checkText(value, `metadata ${quote(key)}`);
      return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
    });
  return `{${members.join(",")}}`;
}

/** Throws `INVALID_NAME` for text that UTF-8 cannot hold. */
export function checkText(text: string, what: string): void {
  if (text.isWellFormed()) return;
  throw new SafetensorsError(
    "INVALID_NAME",
    `${what} has a lone surrogate, which UTF-8 cannot hold: ${quote(text)}`,
  );
}
