import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parseSafetensorsMetadata } from "@huggingface/hub";

/**
 * The names in a file, by the hub's client. It reads headers in repositories only, so it gets a `fetch` that answers
 * with ranges of the file, and costs as little as it can.
 */
export async function list(path) {
  const fd = openSync(path, "r");
  const answer = async (_url, { headers }) => {
    const { size } = fstatSync(fd);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.Range).map(Number);
    const bytes = new Uint8Array(last + 1 - first);
    readSync(fd, bytes, 0, bytes.length, first);
    return {
      ok: true,
      status: 206,
      headers: new Headers({ "content-range": `bytes ${first}-${last}/${size}`, etag: '"file"' }),
      arrayBuffer: async () => bytes.buffer,
      text: async () => new TextDecoder().decode(bytes),
    };
  };
  const { header } = await parseSafetensorsMetadata({
    repo: "local/file",
    path: "model.safetensors",
    fetch: answer,
  });
  return { names: Object.keys(header).filter((name) => name !== "__metadata__"), close: () => closeSync(fd) };
}
