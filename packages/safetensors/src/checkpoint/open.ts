import { quote, SafetensorsError } from "../errors.ts";
import { fromBlob } from "../source/blob.ts";
import { fromBytes } from "../source/memory.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource } from "../source/source.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { openSafetensors, type SafetensorsOptions } from "./safetensors.ts";

/** A reader of one more kind of file, for `open`. */
export interface FormatReader {
  /** Name of the format, as in `Checkpoint.format`. */
  readonly format: string;
  /** Bytes from the start of the file that `recognises` wants to see. */
  readonly headLength: number;
  /** Whether a file that begins with `head` (shorter for a shorter file) is of this kind. */
  recognises(head: Uint8Array): boolean;
  open(source: ByteSource, options: SafetensorsOptions): Promise<Checkpoint>;
}

/** Options of `open`. */
export interface OpenOptions extends SafetensorsOptions {
  /** Readers to ask before safetensors, in this order: `readers: [torchReader]`. */
  readonly readers?: readonly FormatReader[] | undefined;
}

/** What `open` takes. */
export type OpenInput = Blob | ArrayBufferLike | ArrayBufferView | ByteSource;

/**
 * Opens a file of weights. It is recognised by its content, never by its name; only its header is read.
 *
 * @throws every error of reading a header; `NOT_SAFETENSORS` tells what else the file is.
 */
export async function open(input: OpenInput, options: OpenOptions = {}): Promise<Checkpoint> {
  const source = toSource(input);
  for (const reader of options.readers ?? []) {
    const head = await readExactly(source, 0, Math.min(source.size, reader.headLength), options);
    if (reader.recognises(head)) return reader.open(source, options);
  }
  return openSafetensors(source, options);
}

function toSource(input: OpenInput): ByteSource {
  if (input instanceof Blob) return fromBlob(input);
  if (ArrayBuffer.isView(input) || "byteLength" in Object(input)) return fromBytes(input as ArrayBufferView);
  if (typeof (input as ByteSource)?.read === "function") return input as ByteSource;
  const advice = "open takes a Blob, bytes or a source; for a path there is openPath, for an address openUrl";
  throw new SafetensorsError("UNSUPPORTED", `${quote(String(input))} cannot be opened: ${advice}`);
}
