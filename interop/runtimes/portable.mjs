import { open, openUrl, parseIndex, SafetensorsError } from "safetensors.js";
import { blobSink, memorySink, save, saveStream, writableSink } from "safetensors.js/save";
import { torchReader } from "safetensors.js/torch";
import { describe, download, sha256 } from "./describe.mjs";

/** Metadata beyond ASCII. */
const SAVE_OPTIONS = { metadata: { format: "pt", ключ: "значение" } };

/** Checks of reading and saving, for every runtime: see everywhere.mjs. */
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
    await save(sink, tensorsToSave(), SAVE_OPTIONS);
    return sha256(sink.bytes());
  },

  async "save to a Blob"() {
    const sink = blobSink({ type: "x/y" });
    await save(sink, streamsToSave(), SAVE_OPTIONS);
    const blob = sink.blob();
    return [blob.type, blob.size, await sha256(await blob.arrayBuffer())];
  },

  async "save to a WritableStream"() {
    const { readable, writable } = new TransformStream();
    const read = new Response(readable).arrayBuffer();
    await save(writableSink(writable), streamsToSave(), SAVE_OPTIONS);
    return sha256(await read);
  },

  async saveStream() {
    const { stream, byteLength } = saveStream(streamsToSave(), SAVE_OPTIONS);
    return [byteLength, await sha256(await new Response(stream).arrayBuffer())];
  },

  /** In a browser, a file of the origin's own; it must change only when all is written. Elsewhere, memory. */
  async "save to a file of the browser, if it has any"() {
    const folder = await globalThis.navigator?.storage?.getDirectory?.();
    if (!folder) return portable.save();
    const file = await folder.getFileHandle("saved.safetensors", { create: true });
    const saveInto = async (tensors) =>
      save(writableSink(await file.createWritable()), tensors, SAVE_OPTIONS);
    await saveInto(streamsToSave());
    const code = await codeOf(() => saveInto(tensorsThatFail()));
    if (code !== "SIZE_MISMATCH") throw new Error(`${code} for data that is too short`);
    return sha256(await (await file.getFile()).arrayBuffer());
  },

  /** The same, where a file is written in place: it must be empty after an error. */
  async "save to a file in a worker, if there is any"() {
    const folder = await globalThis.navigator?.storage?.getDirectory?.();
    if (!folder) return portable.save();
    const name = "worker.safetensors";
    const file = await folder.getFileHandle(name, { create: true });
    const longer = await file.createWritable();
    await longer.write(new Uint8Array(10_000));
    await longer.close();
    const worker = new Worker("/bundle/opfs-worker.js", { type: "module" });
    const saveInto = (tensors) => {
      worker.postMessage({ name, tensors, options: SAVE_OPTIONS });
      return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
    };
    const answers = [await saveInto(tensorsToSave())];
    const hash = await sha256(await (await file.getFile()).arrayBuffer());
    answers.push(await saveInto(tensorsThatFail()), (await file.getFile()).size);
    worker.terminate();
    if (answers.join() !== "saved,SIZE_MISMATCH,0") throw new Error(`the worker answers ${answers}`);
    return hash;
  },

  async "saving that fails"() {
    const ended = [];
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(1000)),
      cancel: () => void ended.push("input"),
    });
    const output = new WritableStream({ abort: ({ code }) => void ended.push(code) });
    const inputs = { w: { dtype: "U8", shape: [10_000], data: endless } };
    ended.push(await codeOf(() => save(writableSink(output), inputs)));
    const { stream } = saveStream(inputs);
    await stream.cancel();
    const unfinished = saveStream({ w: { dtype: "U8", shape: [9], data: () => new Promise(() => {}) } });
    const reader = unfinished.stream.getReader();
    ended.push((await reader.read()).value.length);
    const last = reader.read();
    await reader.cancel();
    return [ended, (await last).done];
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

/** Tensors of which one has too few bytes. */
function tensorsThatFail() {
  return { ...tensorsToSave(), wrong: { dtype: "U8", shape: [3], data: [Uint8Array.of(1, 2)] } };
}

/** The same tensors in all the ways in which their data may come. */
function streamsToSave() {
  const { a, b, ü } = tensorsToSave();
  const bytes = new Uint8Array(b.data.buffer);
  const stream = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 5) controller.enqueue(bytes.slice(at, at + 5));
      controller.close();
    },
  });
  async function* pieces() {
    for (const byte of ü.data) yield Uint8Array.of(byte);
  }
  return {
    ü: { ...ü, data: pieces() },
    b: { ...b, data: stream },
    a: { ...a, data: async () => new Blob([a.data]) },
  };
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
