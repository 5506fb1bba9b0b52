import { quote, SafetensorsError } from "../errors.ts";
import { MAX_INDEX_BYTES } from "../limits.ts";
import { openFile } from "./file-source.ts";
import { fileSink } from "./write/file-sink.ts";

/**
 * Reads a file of JSON as a whole: an index or a manifest.
 *
 * @throws every error of `openFile`; `LIMIT_EXCEEDED` if it is larger than any index
 */
export async function readSmallFile(path: string): Promise<Uint8Array> {
  const source = await openFile(path);
  try {
    if (source.size <= MAX_INDEX_BYTES) return await source.read(0, source.size);
    const text = `${quote(path)} has ${source.size} bytes; at most ${MAX_INDEX_BYTES} are read of an index or a manifest`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INDEX_BYTES", file: path });
  } finally {
    await source.close();
  }
}

/** Writes a file that appears whole or not at all: see `fileSink`. */
export async function writeSmallFile(path: string, bytes: Uint8Array): Promise<void> {
  const sink = await fileSink(path);
  try {
    await sink.write(bytes);
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}
