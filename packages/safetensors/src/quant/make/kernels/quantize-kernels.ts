import { kernelModule } from "../../../kernels/module.ts";
import { type MatrixKernels, plainMatrices } from "./matrices.ts";
import { matricesBy } from "./matrices-wasm.ts";
import { plainRuns, type RunKernels } from "./runs.ts";
import { runsBy } from "./runs-wasm.ts";

/** Ways to do the arithmetic that takes the time when weights are quantised. All give the same bits. */
export interface QuantizeKernels {
  readonly backend: "wasm" | "javascript";
  readonly runs: RunKernels;
  readonly matrices: MatrixKernels;
}

/** The kernels in plain JavaScript. */
export const plainQuantizeKernels: QuantizeKernels = {
  backend: "javascript",
  runs: plainRuns,
  matrices: plainMatrices,
};

/** The fastest kernels that there are here: those in WebAssembly where there is SIMD, else those in JavaScript. */
export async function loadQuantizeKernels(): Promise<QuantizeKernels> {
  const module = await kernelModule();
  if (!module) return plainQuantizeKernels;
  return { backend: "wasm", runs: runsBy(module), matrices: matricesBy(module) };
}
