import { stat } from "node:fs/promises";
import { SafetensorsError } from "safetensors.js";
import { isAddress } from "./address.ts";
import { nameText } from "./output/text.ts";

/** Endings of files of weights. A folder of such a name would be a mistake. */
const WEIGHTS_FILE = /\.(safetensors?|bin|pt|pth|ckpt|npz|npy|gguf)$/i;

/** Whether an output is one file; else it is a folder. */
export const isOneFile = (output: string): boolean => output.endsWith(".safetensors");

/**
 * Refuses an output that is neither a file of safetensors nor a folder.
 *
 * @throws `UNSUPPORTED`
 */
export async function checkOutput(output: string): Promise<void> {
  const refused = (text: string): SafetensorsError =>
    new SafetensorsError("UNSUPPORTED", text, { file: output });
  if (output === "") throw refused("the output has no name");
  if (isAddress(output)) {
    throw refused(`${output} is an address; only files and folders on this machine can be written`);
  }
  if (isOneFile(output)) return;
  const found = await stat(output).catch(() => undefined);
  if (found?.isDirectory()) return;
  if (found) {
    throw refused(
      `the output ${nameText(output)} is there and is no folder; name a folder, or a file that ends in .safetensors`,
    );
  }
  if (WEIGHTS_FILE.test(output)) {
    throw refused(
      `the output ${nameText(output)} would be a folder, as it does not end in .safetensors; to make a PyTorch file, use safetensors convert`,
    );
  }
}
