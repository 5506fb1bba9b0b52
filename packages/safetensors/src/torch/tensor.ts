import type { Dtype } from "../dtype/dtype.ts";
import type { ErrorCode } from "../errors.ts";
import type { ByteSource } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";
import type { ElementMap } from "./mapped-view.ts";
import { PickleNode } from "./pickle/values.ts";
import type { StorageNode, TorchDtype } from "./storage.ts";

/** A strided view of a storage, known to lie inside it. */
export interface TensorLayout {
  readonly storage: StorageNode;
  /** The element type as PyTorch names it. */
  readonly torchDtype: TorchDtype;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** In elements of `dtype`. */
  readonly strides: readonly number[];
  /** Place of the first element, in bytes from the start of the storage. */
  readonly byteOffset: number;
}

/** A tensor of the pickle, as it lies in a storage. */
export class TensorNode extends PickleNode {
  readonly layout: TensorLayout;

  constructor(layout: TensorLayout) {
    super();
    this.layout = layout;
  }

  get kind(): string {
    return "tensor";
  }

  get torchDtype(): TorchDtype {
    return this.layout.torchDtype;
  }

  get dtype(): Dtype {
    return this.layout.dtype;
  }

  get shape(): readonly number[] {
    return this.layout.shape;
  }
}

/** A tensor whose bytes can be read: those of a storage, or computed from others. */
export type ReadableTensor = TensorNode | DerivedTensor;

/** Gives the view of a tensor that another one is computed from. */
export type ViewOf = (tensor: ReadableTensor) => StridedView;

/** What a derived tensor is. */
export interface Derivation {
  /** The tensor that most of its bytes come from. */
  readonly origin: ReadableTensor;
  readonly torchDtype: TorchDtype;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Follows "is" in a sentence, for the report: "a conjugate view". */
  readonly what: string;
  /** What is done to each element of the origin, if that is all: tensors of the same view and map are the same. */
  readonly map?: ElementMap;
  /** The packed bytes, computed when they are read. */
  readonly open: (viewOf: ViewOf) => ByteSource;
}

/** A tensor that is computed from others while it is read. */
export class DerivedTensor extends PickleNode {
  readonly derivation: Derivation;

  constructor(derivation: Derivation) {
    super();
    this.derivation = derivation;
  }

  get kind(): string {
    return "tensor";
  }

  get torchDtype(): TorchDtype {
    return this.derivation.torchDtype;
  }

  get dtype(): Dtype {
    return this.derivation.dtype;
  }

  get shape(): readonly number[] {
    return this.derivation.shape;
  }
}

/** The options that say what to do with tensors that safetensors cannot hold. */
export type CompositeOption = "quantized" | "sparse" | "complex128";

/** A tensor that safetensors cannot hold as it is, but in parts, or computed as a whole. */
export class CompositeTensor extends PickleNode {
  readonly option: CompositeOption;
  readonly torchDtype: TorchDtype;
  /** Follows "is" in a sentence: "sparse". */
  readonly what: string;
  /** By what is added to the name: ".scale". */
  readonly parts: ReadonlyMap<string, ReadableTensor>;
  /** The tensor as one, for the options that give it so. */
  readonly whole: ReadableTensor | undefined;

  constructor(
    option: CompositeOption,
    torchDtype: TorchDtype,
    what: string,
    parts: ReadonlyMap<string, ReadableTensor>,
    whole?: ReadableTensor,
  ) {
    super();
    this.option = option;
    this.torchDtype = torchDtype;
    this.what = what;
    this.parts = parts;
    this.whole = whole;
  }

  get kind(): string {
    return "tensor";
  }
}

/** A tensor that cannot be read. It matters only if it is asked for: then its reason becomes the error. */
export class RefusedTensor extends PickleNode {
  readonly code: ErrorCode;
  /** Follows the tensor's name in a sentence: "is sparse". */
  readonly reason: string;
  /** For `FORBIDDEN_GLOBAL`: what would have to be called. */
  readonly global: string | undefined;

  constructor(code: ErrorCode, reason: string, global?: string) {
    super();
    this.code = code;
    this.reason = reason;
    this.global = global;
  }

  get kind(): string {
    return "tensor";
  }
}

/** Whatever a call of the pickle makes for a tensor. */
export type AnyTensor = ReadableTensor | CompositeTensor | RefusedTensor;

/** The refusal of a tensor that is described wrongly. */
export function malformed(reason: string): RefusedTensor {
  return new RefusedTensor("INVALID_TENSOR", reason);
}

/** The refusal of a tensor of a kind that is not read. */
export function unsupported(reason: string): RefusedTensor {
  return new RefusedTensor("UNSUPPORTED", reason);
}
