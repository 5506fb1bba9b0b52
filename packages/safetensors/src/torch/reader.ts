import { Checkpoint, type TensorIndex } from "../checkpoint/checkpoint.ts";
import { ViewIndex } from "../checkpoint/view-index.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { Decompress } from "./compression.ts";
import type { TorchContainer, TorchFile } from "./file.ts";
import { classifyGlobal, type GlobalRole } from "./globals.ts";
import { openAnyContainer } from "./open-container.ts";
import type { SelectOptions } from "./options.ts";
import { selectScript } from "./script-constants.ts";
import { type LeftOut, type Selection, selectTensors } from "./select.ts";
import { steadily } from "./steps.ts";
import { MemoryStorage } from "./storage.ts";
import { DerivedTensor, type ReadableTensor } from "./tensor.ts";
import { viewsOf } from "./views.ts";

/** Options of `openTorch`. */
export interface TorchOptions extends ReadOptions, SelectOptions {
  /** Undoes compressions of the whole file that the runtime itself cannot, such as Zstandard. */
  readonly decompress?: Decompress | undefined;
  /** Open what has over 256 MiB and is more than 200 times as large as it is compressed: a storage, or the whole file. */
  readonly allowExpansion?: boolean | undefined;
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
  /** What the file is. */
  readonly form: TorchContainer;
  /** The folder in a ZIP archive; "" for others. */
  readonly root: string;
  /** Pickle protocol, and number of opcodes. */
  readonly protocol: number;
  readonly opcodes: number;
  readonly globals: readonly ReportedGlobal[];
  /** Path of the container whose tensors these are; "" is the top. */
  readonly container: string;
  /** Values that are not tensors. */
  readonly leftOut: LeftOut;
  /** Tensors outside of the container, and those in modules that their `state_dict()` leaves out. */
  readonly tensorsOutside: LeftOut;
  /** Tensors that are not in the file as they are given, by name, and what is there: "a conjugate view", "NumPy array". */
  readonly remade: LeftOut;
  /** Classes of the objects that the tensors are in: modules, subclasses of dict and list. Nothing of them is run. */
  readonly classes: readonly string[];
}

/** The checkpoint of a PyTorch file. Its tensors are views of the storages as they lie in the file. */
export class TorchCheckpoint extends Checkpoint {
  readonly report: TorchReport;

  constructor(
    tensors: TensorIndex,
    renamed: ReadonlyMap<string, readonly string[]>,
    report: TorchReport,
    close: () => void | Promise<void>,
  ) {
    super({ format: "torch", tensors, renamed, close });
    this.report = report;
  }
}

/**
 * Opens a PyTorch file: of `torch.save`, whatever its version, of `torch.jit.save`, or a pickle with tensors in it, also
 * compressed as a whole. It is recognised by its content, in the order of `torch.load`. Reads the directory and the
 * pickles, no tensor, except that a compressed file is unpacked into memory. Nothing in the file is run.
 *
 * @throws `INVALID_ARCHIVE`, `INVALID_PICKLE`, `INVALID_TENSOR`: the file is damaged, or can be read in two ways.
 *   `FORBIDDEN_GLOBAL`: it wants something run that no checkpoint needs, or that its tensors cannot be made without.
 *   `UNSUPPORTED`: other archives of PyTorch, unknown compressions, tensors that safetensors cannot hold.
 *   `AMBIGUOUS`, `TENSOR_NOT_FOUND`: see `TorchOptions.key`. `LIMIT_EXCEEDED`.
 */
export async function openTorch(source: ByteSource, options: TorchOptions = {}): Promise<TorchCheckpoint> {
  const file = await openAnyContainer(source, options);
  const { value, opcodes } = file.pickle;
  const selecting =
    file.container === "torchscript" ? selectScript(file, options) : selectTensors(value, opcodes, options);
  const selection = await steadily(selecting, options.signal);
  if (file.bigEndian) refuseUntyped(selection.tensors);
  const views = viewsOf(selection.tensors, file);
  return new TorchCheckpoint(new ViewIndex(views), selection.renamed, reportOf(file, selection), () =>
    source.close?.(),
  );
}

/**
 * In a big-endian file, PyTorch swaps the bytes of elements by the type of their storage, and those without a type, of
 * newer dtypes, not at all.
 */
function refuseUntyped(tensors: ReadonlyMap<string, ReadableTensor>): void {
  for (const [name, tensor] of tensors) {
    let origin = tensor;
    while (origin instanceof DerivedTensor) origin = origin.derivation.origin;
    const { storage, torchDtype } = origin.layout;
    if (storage instanceof MemoryStorage || storage.dtype.bytes > 1 || torchDtype.bytes === 1) continue;
    const text = `tensor ${quote(name)} has the dtype ${torchDtype.name} in a big-endian file, which PyTorch itself misreads`;
    throw new SafetensorsError("UNSUPPORTED", text, { kind: "torch", tensor: name });
  }
}

function reportOf({ container, root, pickle }: TorchFile, selection: Selection): TorchReport {
  return {
    form: container,
    root,
    protocol: pickle.protocol,
    opcodes: pickle.opcodes,
    globals: pickle.globals.map(({ module, name, called }) => {
      const { path, role } = classifyGlobal(module, name);
      // One that is forbidden has ended the reading, unless its calls explain it.
      return { name: path, role: role === "forbidden" ? "inert" : role, called };
    }),
    container: selection.container,
    leftOut: selection.values,
    tensorsOutside: selection.outside,
    remade: selection.remade,
    classes: selection.classes,
  };
}
