import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "safetensors.js";
import { convertPath, openMapped, openPath, saveFile } from "safetensors.js/node";
import { describe, sha256 } from "./describe.mjs";
import { tensorsToSave } from "./portable.mjs";

/** Checks for runtimes with files. The context has the folder with the inputs, and one for output. */
export const files = {
  async path({ input }) {
    return describe(await openPath(join(input, "dtypes.safetensors")));
  },

  async "sharded folder"({ input }) {
    return describe(await openPath(join(input, "sharded")));
  },

  async saveFile({ output }) {
    const path = join(output, "saved.safetensors");
    await saveFile(path, tensorsToSave(), { metadata: { format: "pt" } });
    return hashFolder(output);
  },

  async convertPath({ input, output }) {
    const folder = join(output, "converted");
    mkdirSync(folder);
    await convertPath(join(input, "torch", "sharded"), folder);
    return hashFolder(folder);
  },

  async openMapped({ input }) {
    const source = await openMapped(join(input, "large.safetensors"));
    const checkpoint = await open(source);
    const view = source.view(1, 100);
    const wanted = view.slice();
    const tensors = await describe(checkpoint);
    const isAsExpected = "transfer" in ArrayBuffer.prototype ? view.length === 0 : isEqual(view, wanted);
    if (!isAsExpected) throw new Error("a view is neither empty nor as it was after close()");
    return tensors;
  },

  /** A map must not go before the last view of it. */
  async "a dropped map"({ input }) {
    const path = join(input, "large.safetensors");
    const view = await openMapped(path).then((source) => source.view(1000, 5000));
    for (let i = 0; i < 5; i++) {
      collectGarbage();
      // What the collector found is cleaned up in a later turn.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return isEqual(view, readFileSync(path).subarray(1000, 6000));
  },
};

async function hashFolder(folder) {
  const hashes = {};
  for (const file of readdirSync(folder).sort())
    hashes[file] = await sha256(readFileSync(join(folder, file)));
  return hashes;
}

function collectGarbage() {
  if (globalThis.Bun) globalThis.Bun.gc(true);
  else globalThis.gc();
}

function isEqual(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
