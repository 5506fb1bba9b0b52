import type { Dtype } from "../../dtype/dtype.ts";
import { TORCH_DTYPES, TYPED_STORAGES } from "../storage.ts";

/** How PyTorch stores a dtype. */
export interface TorchType {
  /** The dtype as a global of Python: `torch float32`. */
  readonly dtype: string;
  /** The class for storages of it, `torch FloatStorage`; newer dtypes have none, their storages count bytes. */
  readonly storageClass: string | undefined;
}

/** PyTorch's counterpart of each dtype; it has none of 6-bit floats. */
export const TORCH_TYPES: ReadonlyMap<Dtype, TorchType> = /* @__PURE__ */ makeTypes();

function makeTypes(): Map<Dtype, TorchType> {
  const classes = new Map(Object.entries(TYPED_STORAGES).map(([typed, name]) => [name, `torch ${typed}`]));
  const types = new Map<Dtype, TorchType>();
  for (const { name, dtype } of TORCH_DTYPES.values()) {
    if (dtype !== undefined) types.set(dtype, { dtype: `torch ${name}`, storageClass: classes.get(name) });
  }
  return types;
}
