import { SafetensorsError } from "../errors.ts";
import { readCanonicalHeader } from "../format/canonical-header.ts";
import { type Header, LENGTH_BYTES, readHeaderLength } from "../format/header.ts";
import type { ReadMode } from "../format/mode.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { contiguousStrides, type StridedView } from "../view/view.ts";
import { Checkpoint, type TensorIndex } from "./checkpoint.ts";

/** First read of a file: most headers fit, and a diagnosis of what is no header has enough to look at. */
const FIRST_READ = 64 << 10;

/** Options for reading a safetensors file. */
export interface SafetensorsOptions extends ReadOptions {
  /** How strictly the header is read; `strict` unless said otherwise. */
  readonly mode?: ReadMode | undefined;
  /** The first bytes of the file, if somebody has read them already: see `readHead`. */
  readonly head?: Uint8Array | undefined;
}

/** The first bytes of a file: enough for most headers, and for telling what it is if it has none. */
export function readHead(source: ByteSource, options?: ReadOptions): Promise<Uint8Array> {
  return readExactly(source, 0, Math.min(source.size, FIRST_READ), options);
}

/** Opens a safetensors file: reads and checks its header, nothing else. */
export async function openSafetensors(
  source: ByteSource,
  options: SafetensorsOptions = {},
): Promise<Checkpoint> {
  const header = await readHeader(source, options);
  return new Checkpoint({
    format: "safetensors",
    metadata: header.metadata,
    problems: header.problems,
    tensors: new HeaderIndex(source, header),
    close: () => source.close?.(),
  });
}

/**
 * Reads and checks the header of a file.
 *
 * @throws `NOT_SAFETENSORS` when the file is recognisably something else, else what is wrong with the header.
 */
export async function readHeader(source: ByteSource, options: SafetensorsOptions = {}): Promise<Header> {
  const head = options.head ?? (await readHead(source, options));
  try {
    const length = readHeaderLength(head, source.size);
    const end = LENGTH_BYTES + length;
    const json =
      end <= head.length
        ? head.subarray(LENGTH_BYTES, end)
        : await readExactly(source, LENGTH_BYTES, length, options);
    const dataLength = source.size - end;
    // Where problems are to be listed, all of them count.
    const canonical = options.mode === "lenient" ? undefined : readCanonicalHeader(json, dataLength);
    if (canonical) return canonical;
    const { parseHeader } = await import("../format/parse-header.ts");
    return parseHeader(json, dataLength, options);
  } catch (error) {
    throw await explain(error, head, source.size);
  }
}

/** An error of the header says what the file is instead, where that can be told. */
async function explain(error: unknown, head: Uint8Array, size: number): Promise<unknown> {
  if (!(error instanceof SafetensorsError && /HEADER|JSON|UTF8/.test(error.code))) return error;
  // Loaded apart: its texts are a fifth of what a web page would otherwise load to read a good file.
  const { diagnose } = await import("../format/diagnose.ts");
  const found = diagnose(head, size);
  if (!found) return error;
  const text = `this is ${found.description}, not safetensors. ${found.advice}`;
  return new SafetensorsError("NOT_SAFETENSORS", text, { kind: found.kind, cause: error });
}

/** The tensors of one safetensors file: contiguous views. */
class HeaderIndex implements TensorIndex {
  readonly #source: ByteSource;
  readonly #header: Header;

  constructor(source: ByteSource, header: Header) {
    this.#source = source;
    this.#header = header;
  }

  get size(): number {
    return this.#header.size;
  }

  names(): Iterable<string> {
    return this.#header.names();
  }

  find(name: string): StridedView | undefined {
    const info = this.#header.find(name);
    if (!info) return undefined;
    const { dtype, shape, dataOffsets } = info;
    const bitOffset = (this.#header.byteLength + dataOffsets[0]) * 8;
    return { source: this.#source, dtype, shape, strides: contiguousStrides(shape), bitOffset };
  }
}
