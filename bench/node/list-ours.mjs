import { open } from "safetensors.js";
import { openFile } from "safetensors.js/node";

/** The names in a file, by this library. */
export async function list(path) {
  const checkpoint = await open(await openFile(path, { blocking: true }));
  return { names: [...checkpoint.keys()], close: () => checkpoint.close() };
}
