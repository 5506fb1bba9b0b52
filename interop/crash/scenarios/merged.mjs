import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openPath, saveCheckpoint, saveFile } from "safetensors.js/node";
import { tensorsOf } from "../tensors.mjs";

export const title = "two files merged into one, over another";

export async function write(folder, generation) {
  const inputs = `${folder}-inputs-${generation}`;
  mkdirSync(inputs, { recursive: true });
  const all = Object.entries(tensorsOf(generation));
  const opened = [];
  for (const [number, part] of [all.slice(1), all.slice(0, 1)].entries()) {
    const path = join(inputs, `part-${number}.safetensors`);
    await saveFile(path, part);
    opened.push(await openPath(path));
  }
  const tensors = opened.flatMap((checkpoint) => Array.from(checkpoint, (tensor) => [tensor.name, tensor]));
  await saveCheckpoint(join(folder, "model.safetensors"), tensors);
  for (const checkpoint of opened) await checkpoint.close();
}

export const files = () => ["model.safetensors"];
