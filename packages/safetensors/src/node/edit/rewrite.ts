import { realpathSync } from "node:fs";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { openSafetensors } from "../../checkpoint/safetensors.ts";
import { listedNames, type NameChoice, nameTest } from "../../checkpoint/select.ts";
import { inFile, quote, SafetensorsError } from "../../errors.ts";
import { encodeHeader, sortTensors } from "../../format/encode.ts";
import { changedMetadata, checkRenames, type HeaderChanges } from "../../save/edit.ts";
import { entriesOf, type SaveInput, type SaveInputs, save } from "../../save/save.ts";
import type { ByteSource } from "../../source/source.ts";
import { openFile } from "../file-source.ts";
import { fileSink } from "../write/file-sink.ts";
import type { EditOptions, EditResult } from "./edit-file.ts";

/** Bytes of room for later edits: who edits once does so again, and a few kilobytes spare the next rewrite. */
const ROOM = 4096;

/** What is to become different in a file that is written anew. Tensors are meant by their old names, except added ones. */
export interface RewriteChanges extends HeaderChanges {
  /** Tensors to leave out; names that are listed must be there, and a test or pattern must choose at least one. */
  readonly drop?: NameChoice | undefined;
  /** Tensors with other data, and with another dtype or shape if need be; each must be there. */
  readonly replace?: SaveInputs | undefined;
  /** Tensors to add; after all else, no name may be taken. */
  readonly add?: SaveInputs | undefined;
}

/**
 * Writes a safetensors file anew, with other tensors, names or metadata: streamed, its tensors in canonical order. It takes the
 * place of the old one when it is complete; links are followed, the mode is kept. Digests in the metadata are taken out if
 * tensors, names or the order of the data are no longer the same.
 *
 * @throws `TENSOR_NOT_FOUND`, `DUPLICATE_NAME`, `INVALID_NAME`, every error of reading and of `save`
 */
export async function rewriteFile(
  path: string,
  changes: RewriteChanges,
  options: EditOptions = {},
): Promise<EditResult> {
  const source = await openFile(path);
  try {
    return await inFile(path, () =>
      rewriteOpened(source, options.output ?? realpathSync(path), changes, options),
    );
  } finally {
    await source.close();
  }
}

/** `rewriteFile` of a file that is open. */
export async function rewriteOpened(
  source: ByteSource,
  target: string,
  changes: RewriteChanges,
  { reserve = ROOM, dryRun, signal, onProgress }: EditOptions,
): Promise<EditResult> {
  const checkpoint = await openSafetensors(source, { signal });
  const tensors = changedTensors(checkpoint, changes);
  const keepsDigests = !changesTensors(changes) && isInOrder(checkpoint);
  const metadata = changedMetadata(checkpoint.metadata, changes, keepsDigests) ?? checkpoint.metadata;
  const options = { metadata: metadata.size > 0 ? metadata : undefined, reserve, signal, onProgress };
  const { bytes, dataLength } = encodeHeader(tensors, options);
  if (!dryRun) await save(await fileSink(target), tensors, options);
  const room = bytes.length - 1 - bytes.lastIndexOf(0x7d);
  return { path: target, how: "rewritten", byteLength: bytes.length + dataLength, room };
}

function changesTensors({ drop, replace, add, rename }: RewriteChanges): boolean {
  return drop !== undefined || replace !== undefined || add !== undefined || !!rename?.size;
}

/** Whether the data lies in the order in which it will be written. */
function isInOrder(checkpoint: Checkpoint): boolean {
  const names = [...checkpoint.keys()];
  const sorted = sortTensors(Array.from(checkpoint, (tensor) => [tensor.name, tensor] as const));
  return sorted.every(([name], place) => name === names[place]);
}

/** The tensors of the new file by their new names. */
function changedTensors(checkpoint: Checkpoint, changes: RewriteChanges): Map<string, SaveInput> {
  const { rename, replace = [], add = [] } = changes;
  const tensors = new Map<string, SaveInput>();
  const isDropped = droppedNames(checkpoint, changes.drop);
  for (const tensor of checkpoint) if (!isDropped(tensor.name)) tensors.set(tensor.name, tensor);
  for (const [name, tensor] of entriesOf(replace)) {
    if (!tensors.has(name)) throw notFound(name, "to replace");
    tensors.set(name, tensor);
  }
  checkRenames(rename, (name) => tensors.has(name));
  const renamed = new Map(Array.from(tensors, ([name, tensor]) => [rename?.get(name) ?? name, tensor]));
  for (const [name, tensor] of entriesOf(add)) {
    if (renamed.has(name)) {
      const text = `tensor ${quote(name)} cannot be added: there is one of that name`;
      throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: name });
    }
    renamed.set(name, tensor);
  }
  return renamed;
}

function droppedNames(checkpoint: Checkpoint, drop: NameChoice | undefined): (name: string) => boolean {
  if (drop === undefined) return () => false;
  const listed = listedNames(drop);
  for (const name of listed ?? []) if (!checkpoint.has(name)) throw notFound(name, "to drop");
  const isDropped = nameTest(listed ?? drop);
  if (!listed && ![...checkpoint.keys()].some(isDropped)) {
    throw new SafetensorsError("TENSOR_NOT_FOUND", "no tensor is chosen to be dropped");
  }
  return isDropped;
}

function notFound(name: string, what: string): SafetensorsError {
  return new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(name)} ${what}`, {
    tensor: name,
  });
}
