import { crc32 } from "node:zlib";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { SaveInputs } from "../../save/save.ts";
import { type WriteTorchOptions, writeTorch } from "../../torch/index.ts";
import { fileSink } from "./file-sink.ts";

/**
 * Writes a PyTorch file, which `torch.load` opens also with `weights_only=True` and `mmap=True`. It appears whole or not
 * at all; a file that was there before stays until then.
 *
 * @param tensors tensors by name, or a checkpoint whose tensors are copied without being held in memory; names that
 *   its metadata gives to tied tensors become tensors over one storage again.
 * @throws what `writeTorch` throws; `IO`
 */
export async function saveTorch(
  path: string,
  tensors: SaveInputs | Checkpoint,
  options: WriteTorchOptions = {},
): Promise<void> {
  await writeTorch(await fileSink(path), tensors, { crc32, ...options });
}
