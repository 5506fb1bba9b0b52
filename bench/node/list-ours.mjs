import { openPath } from "safetensors.js/node";

/** The names in a file, by this library. */
export async function list(path) {
  const checkpoint = await openPath(path, { blocking: true });
  return { names: [...checkpoint.keys()], close: () => checkpoint.close() };
}
