import { readFileSync } from "node:fs";
import { safetensors } from "@jax-js/loaders";

/** The names in a file, by jax-js: it takes a whole file in memory. */
export async function list(path) {
  const { tensors } = safetensors.parse(readFileSync(path));
  return { names: Object.keys(tensors) };
}
