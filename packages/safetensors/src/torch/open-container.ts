import { SafetensorsError } from "../errors.ts";
import { diagnose } from "../format/diagnose.ts";
import { MAX_PICKLE_BYTES } from "../limits.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { openTorchArchive } from "./archive.ts";
import { type Compression, compressionOf } from "./compression.ts";
import type { OpenTools, TorchFile } from "./file.ts";
import { TorchInterpreter } from "./interpreter.ts";
import { joinedArchives, joinedArchivesError } from "./joined-archives.ts";
import { openLegacy } from "./legacy.ts";
import { noPersistentId } from "./legacy-pickles.ts";
import { NestedFiles } from "./nested.ts";
import { runPickle } from "./pickle/machine.ts";
import { HEAD_BYTES, looksLikePickle, torchKind } from "./recognise.ts";
import { steadily } from "./steps.ts";
import { openTarFile } from "./tar-file.ts";
import { type UnpackOptions, unpacked } from "./unpacked.ts";
import { limitError } from "./walk.ts";

/**
 * Opens a PyTorch file in any container, also compressed as a whole. Which one it is, its content tells, in the order in
 * which `torch.load` looks at it; what is compressed, or a pickle of another program, is no such file to `torch.load`.
 */
export async function openAnyContainer(source: ByteSource, options: UnpackOptions): Promise<TorchFile> {
  const head = await readHead(source, options);
  const compression = torchKind(head) === undefined ? compressionOf(head) : undefined;
  if (compression === undefined) return openPlain(source, head, options);
  const plain = await unpacked(source, compression, options);
  return openPlain(plain, await readHead(plain, options), options, compression);
}

/** @param compression what the source was compressed by. */
async function openPlain(
  source: ByteSource,
  head: Uint8Array,
  { signal, allowExpansion }: UnpackOptions,
  compression?: Compression,
): Promise<TorchFile> {
  const open = openerOf(head);
  if (!open) throw notTorch(source, head, compression);
  const nested = new NestedFiles(source.size);
  const file = await open(source, { signal, allowExpansion, loadBytes: (bytes) => nested.load(bytes) });
  return {
    ...file,
    pickle: nested.joinedTo(file.pickle),
    placeOf: (storage) => nested.placeOf(storage) ?? file.placeOf(storage),
  };
}

type Opener = (source: ByteSource, tools: OpenTools) => Promise<TorchFile>;

function openerOf(head: Uint8Array): Opener | undefined {
  const kind = torchKind(head);
  if (kind === undefined) return looksLikePickle(head) ? openPickle : undefined;
  return { zip: openZipFile, tar: openTarFile, legacy: openLegacy }[kind];
}

async function openZipFile(source: ByteSource, tools: OpenTools): Promise<TorchFile> {
  try {
    return await openTorchArchive(source, tools);
  } catch (error) {
    const isInvalid = error instanceof SafetensorsError && error.code === "INVALID_ARCHIVE";
    const joined = isInvalid ? await joinedArchives(source, tools) : undefined;
    throw joined ? joinedArchivesError(joined.length) : error;
  }
}

/** A pickle that is the whole file, and in which the storages are. */
async function openPickle(source: ByteSource, { signal, loadBytes }: OpenTools): Promise<TorchFile> {
  if (source.size > MAX_PICKLE_BYTES)
    throw limitError("MAX_PICKLE_BYTES", `the pickle has ${source.size} bytes`);
  const bytes = await readExactly(source, 0, source.size, { signal });
  const interpreter = new TorchInterpreter(bytes.length, { loadBytes, persistentLoad: noPersistentId });
  const pickle = await steadily(runPickle(bytes, interpreter), signal);
  if (pickle.end < bytes.length) {
    throw new SafetensorsError("INVALID_PICKLE", "something follows the end of the pickle", {
      at: pickle.end,
    });
  }
  const placeOf = (): never => {
    throw new SafetensorsError("INVALID_ARCHIVE", "the storage is not in the pickle");
  };
  return { container: "pickle", root: "", pickle, placeOf };
}

function notTorch(
  source: ByteSource,
  head: Uint8Array,
  compression: Compression | undefined,
): SafetensorsError {
  const where = compression === undefined ? "this" : `what is inside of the ${compression} data`;
  const found = diagnose(head, source.size);
  if (!found) return new SafetensorsError("INVALID_ARCHIVE", `${where} is not a PyTorch file`);
  const text = `${where} is ${found.description}, not a PyTorch file. ${found.advice}`;
  return new SafetensorsError("INVALID_ARCHIVE", text, { kind: found.kind });
}

function readHead(source: ByteSource, { signal }: ReadOptions): Promise<Uint8Array> {
  return readExactly(source, 0, Math.min(source.size, HEAD_BYTES), { signal });
}
