import { open } from "safetensors.js";
import { rankShare, readShare, shareCheckpoint } from "safetensors.js/parallel";
import { download, sha256 } from "./describe.mjs";
import { openModel, sentOf } from "./quantized.mjs";

/** Checks of what ranks have of a checkpoint, for every runtime. */
export const shares = {
  async "shares of ranks"({ url }) {
    const { config, quantization } = await openModel(url);
    const checkpoint = await open(await download(`${url}quantized/model.safetensors`));
    const found = [];
    for (let rank = 0; rank < 4; rank++) {
      const options = { config, world: { tp: 2, pp: 2 }, rank, quantized: quantization };
      for (const { name, handle } of rankShare(options, checkpoint)) {
        found.push([rank, name, handle.dtype, [...handle.shape], await sha256(await handle.bytes())]);
      }
    }
    return found;
  },

  /** As many bytes as were planned; and where requests cost nothing, those of the share and no other. */
  async "a share over HTTP"({ url }) {
    const { config, checkpoint: remote, quantization, source } = await openModel(url);
    const options = { config, world: { tp: 2, pp: 4 }, rank: 5, quantized: quantization };
    const read = (offset, length, how) => source.read(offset, length, how);
    const near = await open({ size: source.size, cost: { operation: 0, byte: 1e-9 }, read });
    const found = [];
    for (const checkpoint of [remote, near]) {
      const { usefulBytes, bytesRead } = await (await shareCheckpoint(checkpoint, options)).plan();
      // What states the shape of a part is made anew, and comes from memory.
      const restated = rankShare(options, checkpoint)
        .filter((tensor) => tensor.restated)
        .reduce((sum, { handle }) => sum + handle.byteLength, 0);
      const before = await sentOf(url);
      const tensors = [];
      for await (const { name, bytes } of readShare(checkpoint, options)) {
        tensors.push([name, bytes.length, await sha256(bytes)]);
      }
      const sent = (await sentOf(url)) - before;
      const planned = (checkpoint === near ? usefulBytes : bytesRead) - restated;
      if (sent !== planned) throw new Error(`${sent} bytes came instead of ${planned}`);
      // They come as their reads end.
      found.push(
        tensors.sort(([a], [b]) => (a < b ? -1 : 1)),
        sent,
        restated,
      );
    }
    return found;
  },
};
