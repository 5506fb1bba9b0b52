import type { ModuleTensors } from "../scheme.ts";

/** Layouts that call their codes `qweight`. */
export type Layout = "gptq" | "awq gemm" | "awq gemv" | "awq gemv_fast";

/**
 * The layout that the shapes and dtypes of a module fit. Of a weight `[N, K]`, AWQ has codes `[K, N / 8]` (gemm),
 * `[N, K / 8]` (gemv) or `[N / 4, K]` (gemv_fast) and GPTQ `[words, N]`; scales are `[groups, N]`, but for gemv `[N, groups]`.
 */
export function layoutOf(tensors: ModuleTensors): Layout | undefined {
  const codes = tensors.get("qweight");
  const scales = tensors.get("scales");
  const zeros = tensors.get("qzeros");
  if (!codes || !scales || codes.shape.length !== 2 || scales.shape.length !== 2) return undefined;
  const [height, width] = codes.shape as [number, number];
  const [groups, outputs] = scales.shape as [number, number];
  if (codes.is("I16")) return height * 4 === outputs ? "awq gemv_fast" : undefined;
  if (!codes.is("I32")) return undefined;
  if (tensors.has("g_idx")) return width === outputs ? "gptq" : undefined;
  if (height === groups && zeros?.shape[0] === height && zeros.shape[1]! * 8 === outputs) {
    // Groups of GPTQ have more inputs than one word: what also looks so is square by accident.
    return "awq gemv";
  }
  if (width * 8 === outputs) return "awq gemm";
  return width === outputs ? "gptq" : undefined;
}

/** What the shapes of a module look like that is not of the layout that was said. */
export function unfit(tensors: ModuleTensors, layout: string | undefined): string {
  const shapes = ["qweight", "qzeros", "scales", "g_idx"].flatMap((role) => {
    const tensor = tensors.get(role);
    return tensor ? [`${role} ${tensor.dtype} [${tensor.shape}]`] : [];
  });
  return `the shapes are ${layout ? `those of ${layout}` : "of no layout that is known"}: ${shapes.join(", ")}`;
}
