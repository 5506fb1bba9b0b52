import { writeTorch } from "../../torch/index.ts";
import { entriesOf } from "../../torch/write/entries.ts";
import { convertToOne, type OneFileFormat, type OneFileOptions, type OneFileResult } from "./one-file.ts";

const TORCH: OneFileFormat = {
  ties: true,
  sizes: ({ tensors, aliases }) => entriesOf(tensors, aliases).map(({ byteLength }) => byteLength),
  write: (sink, { tensors, aliases }, options) => writeTorch(sink, tensors, { aliases, ...options }),
};

/**
 * Converts safetensors, PyTorch and NumPy files to one PyTorch file with all tensors, and nothing else: of a PyTorch file, no
 * code is run, and none is kept. Tied weights, which the metadata of safetensors names, are tied again; views that overlap
 * but differ get data of their own.
 *
 * All is checked before anything is written, and the new file appears only when it is complete. An error, or the signal,
 * leaves everything as it was. Checksums are compared as by `convertPath`.
 *
 * @param input a file, an index, or a folder with either, in which safetensors come first.
 * @throws every error of locating and reading the input; what `applyNameRules` throws; `UNSUPPORTED` for dtypes that PyTorch
 *   lacks; `DUPLICATE_NAME`; `LIMIT_EXCEEDED` (`MAX_EXPANSION`); `NOT_FOUND` without a folder for the output; `IO`, also when
 *   the output is the input
 */
export function convertToTorch(
  input: string,
  output: string,
  options: OneFileOptions = {},
): Promise<OneFileResult> {
  return convertToOne(input, output, TORCH, options);
}
