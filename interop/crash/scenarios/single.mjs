import { join } from "node:path";
import { saveFile } from "safetensors.js/node";
import { tensorsOf } from "../tensors.mjs";

export const title = "one file over another";

export async function write(folder, generation) {
  await saveFile(join(folder, "model.safetensors"), tensorsOf(generation));
}

export const files = () => ["model.safetensors"];
