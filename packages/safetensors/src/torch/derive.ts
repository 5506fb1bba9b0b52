import { DTYPE_ORDER, type Dtype } from "../dtype/dtype.ts";
import { COPY, conjugation, type ElementMap, MappedView, negation, roundToBfloat16 } from "./mapped-view.ts";
import { TORCH_DTYPES } from "./storage.ts";
import {
  type Derivation,
  DerivedTensor,
  type ReadableTensor,
  type RefusedTensor,
  unsupported,
} from "./tensor.ts";

/** One for each dtype, so that equal views are seen to be equal. */
const NEGATIONS = new Map(DTYPE_ORDER.map((dtype) => [dtype, negation(dtype)]));

/** What mapping makes of a tensor; its dtype in PyTorch stays as it is unless said otherwise. */
type Mapped = Pick<Derivation, "dtype" | "shape" | "what"> & Partial<Pick<Derivation, "torchDtype">>;

/** A tensor as another one with each element mapped. */
export function mapped(origin: ReadableTensor, result: Mapped, map: ElementMap): DerivedTensor {
  return new DerivedTensor({
    torchDtype: origin.torchDtype,
    ...result,
    origin,
    map,
    open: (viewOf) => new MappedView(viewOf(origin), map),
  });
}

/** The bytes of a tensor in order, as elements of another dtype. */
export function gathered(origin: ReadableTensor, dtype: Dtype, shape: readonly number[]): DerivedTensor {
  return mapped(origin, { dtype, shape, what: "a strided view of packed elements" }, COPY);
}

/** What a conjugate view of complex64 says: torch's `resolve_conj()`. */
export function conjugated(origin: ReadableTensor): DerivedTensor {
  const { dtype, shape } = origin;
  return mapped(origin, { dtype, shape, what: "a conjugate view" }, conjugation);
}

/** What a negative view says: torch's `resolve_neg()`. */
export function negated(origin: ReadableTensor): ReadableTensor | RefusedTensor {
  const { dtype, shape } = origin;
  const map = NEGATIONS.get(dtype);
  if (!map) return unsupported(`is a negative view of the dtype ${origin.torchDtype.name}`);
  return mapped(origin, { dtype, shape, what: "a negative view" }, map);
}

/** A tensor of float32 rounded to bfloat16: how tensors of bfloat16 went through NumPy, which has no such type. */
export function asBfloat16(origin: ReadableTensor): DerivedTensor {
  const { shape } = origin;
  const torchDtype = TORCH_DTYPES.get("bfloat16")!;
  return mapped(origin, { torchDtype, dtype: "BF16", shape, what: "stored as float32" }, roundToBfloat16);
}
