// Kernels in WebAssembly with SIMD. The host puts arrays into the memory and passes their addresses; addresses and strides
// are in bytes, counts in elements. Casts go on to the next multiple of 16 elements: there must be memory behind.
export * from "./awq";
export * from "./cast";
export * from "./from-f8";
export * from "./k-major";
export * from "./make-runs";
export * from "./packed-rows";
export * from "./products";
export * from "./scaled-bytes";
export * from "./scaled-nibbles";
export * from "./to-f8";

/** Where the memory begins that the host may use. */
export const memoryBase: usize = __heap_base;
