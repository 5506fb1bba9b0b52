import {
  type FileStore,
  type NameChoice,
  type OpenedFiles,
  openStoreFiles,
  type ReadMode,
  type Traffic,
} from "safetensors.js";
import { decompress } from "safetensors.js/node";
import { numpyReader, openNumpy } from "safetensors.js/numpy";
import { openTorch, torchReader } from "safetensors.js/torch";
import { placeOf } from "./address.ts";

/** How to open an input. */
export interface InputOptions {
  readonly mode: ReadMode;
  /** Where the tensors are in PyTorch files; found by itself if undefined. */
  readonly key?: string | undefined;
  /** Only the tensors with these names are wanted. */
  readonly names?: NameChoice | undefined;
  /** What is read is added to this. */
  readonly traffic: Traffic;
}

/** An opened input, and where its files lie. */
export interface OpenedInput extends OpenedFiles, AsyncDisposable {
  readonly store: FileStore;
}

/** What safetensors cannot hold is shown in its parts. */
const AS_THEY_ARE = { quantized: "raw", sparse: "parts", complex128: "split" } as const;

/** Opens what an input leads to, with its files apart. Errors of one of several files name it. */
export async function openFiles(
  input: string,
  { mode, key, names, traffic }: InputOptions,
): Promise<OpenedInput> {
  const { store, file } = await placeOf(input, traffic);
  const opened = await openStoreFiles(store, {
    file,
    mode,
    names,
    readers: [
      {
        ...torchReader,
        open: (source, options) => openTorch(source, { ...options, ...AS_THEY_ARE, decompress, key }),
      },
      { ...numpyReader, open: (source, options) => openNumpy(source, { ...options, names }) },
    ],
  });
  return { ...opened, store, [Symbol.asyncDispose]: () => opened.whole.close() };
}
