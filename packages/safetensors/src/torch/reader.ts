import { Checkpoint, type TensorIndex } from "../checkpoint/checkpoint.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";
import { openTorchArchive, type TorchArchive } from "./archive.ts";
import { classifyGlobal, type GlobalRole } from "./globals.ts";
import { TorchInterpreter } from "./interpreter.ts";
import { type PickleResult, runPickle } from "./pickle/machine.ts";
import { HEAD_BYTES, torchKind } from "./recognise.ts";
import { type LeftOut, type Selection, selectTensors } from "./select.ts";
import type { StorageNode } from "./storage.ts";
import type { TensorNode } from "./tensor.ts";

/** Options of `openTorch`. */
export interface TorchOptions extends ReadOptions {
  /** Path of the dict with the tensors, "state_dict" or "a.b"; "" is the top. Found by itself if only one can be meant. */
  readonly key?: string | undefined;
}

/** A name that the file asks Python to import, and what it is to the reader. */
export interface ReportedGlobal {
  /** In the spelling of today's Python. */
  readonly name: string;
  readonly role: GlobalRole;
  /** Whether the file calls it. */
  readonly called: boolean;
}

/** What a PyTorch file asked for, and what of it was left out. */
export interface TorchReport {
  /** The folder in the archive. */
  readonly root: string;
  /** Pickle protocol, and number of opcodes. */
  readonly protocol: number;
  readonly opcodes: number;
  readonly globals: readonly ReportedGlobal[];
  /** Path of the container whose tensors these are; "" is the top. */
  readonly container: string;
  /** Values that are not tensors. */
  readonly leftOut: LeftOut;
  /** Tensors outside of the container. */
  readonly tensorsOutside: LeftOut;
}

/** The checkpoint of a PyTorch file. Its tensors are views of the storages as they lie in the file. */
export class TorchCheckpoint extends Checkpoint {
  readonly report: TorchReport;

  constructor(tensors: TensorIndex, report: TorchReport, close: () => void | Promise<void>) {
    super({ format: "torch", tensors, close });
    this.report = report;
  }
}

/**
 * Opens a PyTorch file (`torch.save`, PyTorch 1.6 and later). Reads the archive's directory and the pickle, no tensor.
 * Nothing in the file is run.
 *
 * @throws `INVALID_ARCHIVE`, `INVALID_PICKLE`, `INVALID_TENSOR`: the file is damaged, or can be read in two ways.
 *   `FORBIDDEN_GLOBAL`: it wants something run that no checkpoint needs, or that its tensors cannot be made without.
 *   `UNSUPPORTED`: older formats, TorchScript, whole modules, tensors that safetensors cannot hold.
 *   `AMBIGUOUS`, `TENSOR_NOT_FOUND`: see `TorchOptions.key`. `LIMIT_EXCEEDED`.
 */
export async function openTorch(source: ByteSource, options: TorchOptions = {}): Promise<TorchCheckpoint> {
  await refuseOtherFormats(source, options);
  const archive = await openTorchArchive(source, options);
  const pickle = await archive.readPickle();
  const result = runPickle(pickle, new TorchInterpreter(pickle.length));
  if (result.end !== pickle.length) {
    throw new SafetensorsError("INVALID_PICKLE", "bytes follow the end of the pickle", { at: result.end });
  }
  const selection = selectTensors(result.value, result.opcodes, options.key);
  const tensors = new ViewIndex(viewsOf(selection.tensors, archive, source));
  return new TorchCheckpoint(tensors, reportOf(archive, result, selection), () => source.close?.());
}

async function refuseOtherFormats(source: ByteSource, options: ReadOptions): Promise<void> {
  const head = await readExactly(source, 0, Math.min(source.size, HEAD_BYTES), options);
  const kind = torchKind(head);
  if (kind === "zip") return;
  if (kind === undefined) {
    throw new SafetensorsError(
      "INVALID_ARCHIVE",
      "this is not a PyTorch file: it does not begin as a ZIP archive",
    );
  }
  const names = { legacy: "legacy PyTorch file", tar: "PyTorch file of a version before 0.2" };
  throw new SafetensorsError("UNSUPPORTED", `not supported yet: ${names[kind]}`, { kind: `torch-${kind}` });
}

/** The views of the tensors, in the order of the data in the file. */
function viewsOf(
  tensors: ReadonlyMap<string, TensorNode>,
  archive: TorchArchive,
  source: ByteSource,
): Map<string, StridedView> {
  const offsets = new Map<StorageNode, number>();
  const views: [string, StridedView][] = [];
  for (const [name, { layout }] of tensors) {
    const { storage, dtype, shape, strides, byteOffset } = layout;
    const start = offsets.get(storage) ?? storageOffset(archive, storage, name);
    offsets.set(storage, start);
    views.push([name, { source, dtype, shape, strides, bitOffset: (start + byteOffset) * 8 }]);
  }
  return new Map(views.sort((a, b) => a[1].bitOffset - b[1].bitOffset));
}

function storageOffset(archive: TorchArchive, storage: StorageNode, tensor: string): number {
  try {
    return archive.storageOffset(storage);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const details = { ...error.details, tensor, cause: error };
    throw new SafetensorsError(error.code, `tensor ${quote(tensor)}: ${error.reason}`, details);
  }
}

class ViewIndex implements TensorIndex {
  readonly #views: ReadonlyMap<string, StridedView>;

  constructor(views: ReadonlyMap<string, StridedView>) {
    this.#views = views;
  }

  get size(): number {
    return this.#views.size;
  }

  names(): Iterable<string> {
    return this.#views.keys();
  }

  find(name: string): StridedView | undefined {
    return this.#views.get(name);
  }
}

function reportOf(archive: TorchArchive, result: PickleResult, selection: Selection): TorchReport {
  return {
    root: archive.root,
    protocol: result.protocol,
    opcodes: result.opcodes,
    globals: result.globals.map(({ module, name, called }) => {
      const { path, role } = classifyGlobal(module, name);
      return { name: path, role, called };
    }),
    container: selection.container,
    leftOut: selection.values,
    tensorsOutside: selection.outside,
  };
}
