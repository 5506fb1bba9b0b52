import { crc32 } from "node:zlib";
import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { type SaveInputs, type SaveOptions, save } from "../../save/save.ts";
import { fileSink } from "./file-sink.ts";

/**
 * Writes a safetensors file. It appears whole or not at all; a file that was there before stays until then.
 *
 * @param tensors tensors by name, or a checkpoint whose tensors are copied without being held in memory; its metadata
 *   goes along unless `options.metadata` is given.
 */
export async function saveFile(
  path: string,
  tensors: SaveInputs | Checkpoint,
  given: SaveOptions = {},
): Promise<void> {
  const options = { crc32, ...given };
  if (!(tensors instanceof Checkpoint)) return save(await fileSink(path), tensors, options);
  const inputs = [...tensors].map((tensor) => [tensor.name, tensor] as const);
  const metadata = options.metadata ?? (tensors.metadata.size > 0 ? tensors.metadata : undefined);
  return save(await fileSink(path), inputs, { ...options, metadata });
}
