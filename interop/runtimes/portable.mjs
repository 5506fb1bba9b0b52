import { open, openUrl, parseIndex, SafetensorsError } from "safetensors.js";
import { memorySink, save } from "safetensors.js/save";
import { torchReader } from "safetensors.js/torch";
import { describe, sha256 } from "./describe.mjs";

/**
 * Checks for every runtime, browsers too. Each gives plain data that is the same everywhere. The context has the address
 * of the folder with the inputs, `url`, and of the same folder behind redirects to another server, `moved`.
 */
export const portable = {
  async memory({ url }) {
    return describe(await open(await download(`${url}dtypes.safetensors`)));
  },

  async Blob({ url }) {
    const file = new File([await download(`${url}dtypes.safetensors`)], "dtypes.safetensors");
    return describe(await open(file));
  },

  async HTTP({ url }) {
    return describe(await open(`${url}dtypes.safetensors`));
  },

  /** The first request brings 128 KiB; the file has more, so that ranges are asked for. */
  async "HTTP ranges"({ url }) {
    return describe(await open(`${url}large.safetensors`));
  },

  async "HTTP redirects"({ moved }) {
    return describe(await open(`${moved}large.safetensors`));
  },

  async "HTTP with drops"({ url }) {
    const source = await openUrl(`${url}dropping/large.safetensors`, { retry: { firstWait: 10 } });
    return describe(await open(source));
  },

  async slices({ url }) {
    const checkpoint = await open(await download(`${url}large.safetensors`));
    const matrix = checkpoint.get("F32");
    const found = [];
    for (const text of ["[5]", "[:, 3]", "[10:2:-3, ::7]", "[..., -1, None]", "[::-1, 4:900:5]", "[7:7]"]) {
      const slice = matrix.slice(...parseIndex(text));
      found.push([text, slice.dtype, slice.shape, await sha256(await slice.bytes())]);
    }
    const [data, halves] = [await matrix.slice(1).data(), await checkpoint.get("BF16").toFloat32()];
    found.push([data.constructor.name, data.length, await sha256(data), await sha256(withOneNaN(halves))]);
    return found;
  },

  async "read()"({ url }) {
    const checkpoint = await open(`${url}large.safetensors`);
    const found = [];
    for await (const { name, bytes } of checkpoint.read({ budget: 1400 << 10, borrowed: true })) {
      found.push([name, bytes.length, await sha256(bytes)]);
    }
    return found;
  },

  async save() {
    const sink = memorySink();
    await save(sink, tensorsToSave(), { metadata: { format: "pt", ключ: "значение" } });
    return sha256(sink.bytes());
  },

  async PyTorch({ url, torchFiles }) {
    const found = {};
    for (const file of torchFiles) {
      const checkpoint = await open(await download(`${url}torch/${file}`), { readers: [torchReader] });
      found[file] = await describe(checkpoint);
    }
    return found;
  },

  async refusals({ url, refusedFiles }) {
    const found = {};
    for (const file of refusedFiles) {
      const bytes = await download(`${url}torch/${file}`);
      found[file] = await codeOf(() => open(bytes, { readers: [torchReader] }));
    }
    return found;
  },

  /** Small files, valid and not: what the reader says to each, tolerant like the reference. */
  async headers({ url }) {
    const cases = await (await fetch(`${url}format-cases.json`)).json();
    const found = [];
    for (const { name, base64 } of cases) {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      found.push([name, (await codeOf(() => open(bytes, { mode: "compat" }))) === "none"]);
    }
    return found;
  },
};

/** Some tensors whose bytes can be foretold. */
export function tensorsToSave() {
  return {
    b: { dtype: "F32", shape: [2, 3], data: Float32Array.of(1, -2.5, 3e38, Number.POSITIVE_INFINITY, 0, -0) },
    a: { dtype: "I64", shape: [2], data: BigInt64Array.of(-1n, 2n ** 62n) },
    ü: { dtype: "BOOL", shape: [3], data: Uint8Array.of(1, 0, 1) },
  };
}

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The code of what is thrown, "none" if nothing is. */
async function codeOf(action) {
  try {
    await action();
    return "none";
  } catch (error) {
    if (error instanceof SafetensorsError) return error.code;
    throw error;
  }
}

/** Runtimes may write a NaN with any of its bit patterns. */
function withOneNaN(floats) {
  return floats.map((value) => (Number.isNaN(value) ? Number.NaN : value));
}
