import assert from "node:assert/strict";
import { SafetensorsError } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, type TorchOptions } from "../../src/torch/index.ts";

/** Opens a file and reads what is small; true if that went well. Whatever fails must be one of our errors. */
export async function survives(bytes: Uint8Array, options?: TorchOptions): Promise<boolean> {
  try {
    const checkpoint = await openTorch(fromBytes(bytes), options);
    for (const tensor of checkpoint) {
      assert.ok(Number.isSafeInteger(tensor.byteLength));
      if (tensor.byteLength <= 65_536) assert.equal((await tensor.bytes()).length, tensor.byteLength);
    }
    JSON.stringify(checkpoint.report);
    return true;
  } catch (error) {
    if (error instanceof SafetensorsError) return false;
    throw error;
  }
}
