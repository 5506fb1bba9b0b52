import { Checkpoint, type TensorIndex } from "../checkpoint/checkpoint.ts";
import { SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";
import { openTorchArchive } from "./archive.ts";
import type { TorchFile } from "./file.ts";
import { classifyGlobal, type GlobalRole } from "./globals.ts";
import { HEAD_BYTES, torchKind } from "./recognise.ts";
import { type LeftOut, type Selection, selectTensors } from "./select.ts";
import { viewsOf } from "./views.ts";

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
  const file = await openTorchArchive(source, options);
  const { value, opcodes } = file.pickle;
  const selection = selectTensors(value, opcodes, options.key);
  const tensors = new ViewIndex(viewsOf(selection.tensors, file));
  return new TorchCheckpoint(tensors, reportOf(file, selection), () => source.close?.());
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

function reportOf({ root, pickle }: TorchFile, selection: Selection): TorchReport {
  return {
    root,
    protocol: pickle.protocol,
    opcodes: pickle.opcodes,
    globals: pickle.globals.map(({ module, name, called }) => {
      const { path, role } = classifyGlobal(module, name);
      return { name: path, role, called };
    }),
    container: selection.container,
    leftOut: selection.values,
    tensorsOutside: selection.outside,
  };
}
