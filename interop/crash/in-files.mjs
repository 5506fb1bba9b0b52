import { saveCheckpoint } from "safetensors.js/node";
import { TOTAL, tensorsOf } from "./tensors.mjs";

/** Saves a generation in as many files. */
export async function saveInFiles(folder, generation, count, options = {}) {
  await saveCheckpoint(folder, tensorsOf(generation), { ...options, maxShardSize: TOTAL / count });
}

/** Names of these files. */
export function filesOf(count) {
  if (count === 1) return ["model.safetensors"];
  const shards = Array.from(
    { length: count },
    (_, index) => `model-0000${index + 1}-of-0000${count}.safetensors`,
  );
  return [...shards, "model.safetensors.index.json"];
}
