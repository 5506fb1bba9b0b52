import { quote, SafetensorsError } from "../errors.ts";
import { fromBlob } from "../source/blob.ts";
import { fromBytes } from "../source/memory.ts";
import type { ByteSource } from "../source/source.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { openSafetensors, readHead, type SafetensorsOptions } from "./safetensors.ts";

/** A reader of one more kind of file, for `open`. */
export interface FormatReader {
  /** Name of the format, as in `Checkpoint.format`. */
  readonly format: string;
  /** Whether a file that begins with `head`, 64 KiB unless the file is shorter, is of this kind. */
  recognises(head: Uint8Array): boolean;
  open(source: ByteSource, options: SafetensorsOptions): Promise<Checkpoint>;
}

/** Options of `open`. */
export interface OpenOptions extends SafetensorsOptions {
  /** Readers to ask before safetensors, in this order: `readers: [torchReader]`. */
  readonly readers?: readonly FormatReader[] | undefined;
}

/** What `open` takes: a file in memory, a Blob, a source, or the address of one on a web server (http or https). */
export type OpenInput = Blob | ArrayBufferLike | ArrayBufferView | ByteSource | URL | string;

/**
 * Opens a file of weights. It is recognised by its content, never by its name; only its header is read. The address of an
 * index, or of a folder (with a slash at its end), opens the whole checkpoint; for headers to be sent, see `urlPlace`.
 *
 * @throws every error of reading a header; `NOT_SAFETENSORS` tells what else the file is.
 */
export async function open(input: OpenInput, options: OpenOptions = {}): Promise<Checkpoint> {
  if (input instanceof URL || (typeof input === "string" && /^https?:/i.test(input))) {
    const { openAddress } = await import("./open-address.ts");
    return openAddress(input, options);
  }
  const source = toSource(input);
  const head = options.head ?? (await readHead(source, options));
  for (const reader of options.readers ?? []) {
    if (reader.recognises(head)) return reader.open(source, options);
  }
  return openSafetensors(source, { ...options, head });
}

function toSource(input: Exclude<OpenInput, URL>): ByteSource {
  if (input instanceof Blob) return fromBlob(input);
  if (ArrayBuffer.isView(input) || "byteLength" in Object(input)) return fromBytes(input as ArrayBufferView);
  if (typeof (input as ByteSource)?.read === "function") return input as ByteSource;
  const advice = "open takes a Blob, bytes, a source or an http address; for a path there is openPath";
  throw new SafetensorsError("UNSUPPORTED", `${quote(String(input))} cannot be opened: ${advice}`);
}
