/** Reads and writes NumPy's files, `.npy` and `.npz`. */
export { numpyReader } from "./format-reader.ts";
export { type NpyOptions, npyHeader } from "./header-text.ts";
export { type NumpyOptions, openNumpy } from "./reader.ts";
export { type WriteNumpyOptions, writeNpy, writeNpz } from "./write.ts";
