import { existsSync } from "node:fs";
import { join } from "node:path";
import { saveFile, writeTensors } from "safetensors.js/node";
import { tensorsOf } from "../tensors.mjs";

const NAME = "model.safetensors";

export const title = "tensors written in place";

export async function write(folder, generation) {
  const file = join(folder, NAME);
  if (existsSync(file)) await writeTensors(file, tensorsOf(generation));
  else await saveFile(file, tensorsOf(generation));
}

export const files = () => [NAME];
