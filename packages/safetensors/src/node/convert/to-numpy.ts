import { writeNpz } from "../../numpy/index.ts";
import { npzSizes } from "../../numpy/write.ts";
import { convertToOne, type OneFileFormat, type OneFileOptions, type OneFileResult } from "./one-file.ts";

const NPZ: OneFileFormat = {
  ties: false,
  sizes: ({ tensors }) => npzSizes(tensors),
  write: (sink, { tensors }, options) => writeNpz(sink, tensors, options),
};

/**
 * Converts safetensors, PyTorch and NumPy files to one `.npz` archive with an array for each tensor, also for those that
 * share their data, which NumPy's archives cannot say. Nothing is compressed, so `numpy.load` reads one array at a time.
 *
 * The rest is as with `convertToTorch`.
 *
 * @throws what `convertToTorch` throws; `UNSUPPORTED` for dtypes that NumPy lacks, BF16 among them: cast it;
 *   `INVALID_NAME`, `DUPLICATE_NAME` for names that its archives cannot have, see `writeNpz`
 */
export function convertToNumpy(
  input: string,
  output: string,
  options: OneFileOptions = {},
): Promise<OneFileResult> {
  return convertToOne(input, output, NPZ, options);
}
