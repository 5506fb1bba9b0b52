import type { NameChoice } from "../checkpoint/select.ts";

/** What to do with tensors that a safetensors file cannot hold as they are. By default such a tensor is refused. */
export interface TensorOptions {
  /**
   * Quantized tensors of PyTorch (qint8, quint8, qint32). `raw`: the integers, with `name.scale` and `name.zero_point`;
   * `dequantize`: F32, as torch's `dequantize()` gives it.
   */
  readonly quantized?: "refuse" | "raw" | "dequantize" | undefined;
  /**
   * Sparse tensors. `densify`: with zeros between their elements; `parts`: `name.indices`, or `name.crow_indices` and
   * `name.col_indices` (`ccol`, `row`), with `name.values` and `name.size`.
   */
  readonly sparse?: "refuse" | "densify" | "parts" | undefined;
  /** complex128, and complex32. `split`: `name.real` and `name.imag`, F64 or F16. */
  readonly complex128?: "refuse" | "split" | undefined;
}

/** Which of a file's tensors are wanted, and in which form. */
export interface SelectOptions extends TensorOptions {
  /**
   * Path of the dict with the tensors, "state_dict" or "a.b"; "" is the top. Found by itself if only one can be meant.
   * "CONSTANTS": those of TorchScript's code, where a frozen module has its weights.
   */
  readonly key?: string | undefined;
  /** All tensors of the file, under their paths from the top: the same as the key "". */
  readonly flatten?: boolean | undefined;
  /**
   * Tensors that must be had, by their names in the file; all without it. What is not chosen may be of any kind: it is no
   * error then that safetensors cannot hold it.
   */
  readonly include?: NameChoice | undefined;
  /** Tensors that need not be had, also if they are included. */
  readonly exclude?: NameChoice | undefined;
}
