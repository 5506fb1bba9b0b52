import type { Dtype } from "../dtype/dtype.ts";
import type { ErrorCode } from "../errors.ts";
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

/** A tensor of the pickle. */
export class TensorNode extends PickleNode {
  readonly layout: TensorLayout;

  constructor(layout: TensorLayout) {
    super();
    this.layout = layout;
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
