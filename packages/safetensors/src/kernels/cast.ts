import { type CastOptions, castFloats, type FloatDtype, floatCaster } from "../dtype/cast.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { type CastKernel, type KernelFunctions, type KernelModule, kernelModule } from "./module.ts";

/** Elements that are cast at a time: what they are before, as F32 and after fits the second cache. A multiple of 16. */
const BLOCK = 1 << 15;

/** Of fewer elements the way into the memory and out of it costs more than it saves. */
const LEAST = 256;

/** To F32. */
function widening(functions: KernelFunctions, from: FloatDtype): CastKernel | undefined {
  if (from === "BF16") return functions.bf16ToF32;
  if (from === "F16") return functions.f16ToF32;
  if (from === "F8_E4M3") return (codes, out, count) => functions.scaleE4M3(codes, out, count + 15, 1);
  if (from === "F8_E5M2") return functions.e5m2ToF32;
  return undefined;
}

/** From F32. Only F8_E4M3 saturates. */
export function narrowing(functions: KernelFunctions, to: FloatDtype): CastKernel | undefined {
  if (to === "BF16") return functions.f32ToBf16;
  if (to === "F16") return functions.f32ToF16;
  if (to === "F8_E4M3") return functions.f32ToE4M3;
  return undefined;
}

/**
 * What `castFloats` gives, the same bytes, from a kernel where there is one: for F32, F16, BF16, F8_E4M3 and F8_E5M2 as F32,
 * F16, BF16 and F8_E4M3.
 *
 * @param into memory of the size of the result; new memory unless given
 * @throws as `castFloats` does; `SIZE_MISMATCH` if `into` is not as large as the result
 */
export function castFloatsBy(
  module: KernelModule,
  from: FloatDtype,
  to: FloatDtype,
  bytes: Uint8Array,
  into?: Uint8Array,
): Uint8Array {
  const { functions } = module;
  const widen = widening(functions, from);
  const narrow = narrowing(functions, to);
  const [size, sizeAfter] = [DTYPES[from].bits / 8, DTYPES[to].bits / 8];
  const count = bytes.length / size;
  const isDone = from !== to && (widen || from === "F32") && (narrow || to === "F32");
  if (!isDone || !Number.isInteger(count) || count < LEAST) {
    const cast = castFloats(from, to, bytes);
    into?.set(cast);
    return into ?? cast;
  }
  const block = Math.min(BLOCK, count + 16);
  module.clear();
  const before = module.reserve(block * size);
  const middle = from === "F32" ? before : module.reserve(block * 4);
  const after = to === "F32" ? middle : module.reserve(block * sizeAfter);
  const result = into ?? new Uint8Array(count * sizeAfter);
  if (result.length !== count * sizeAfter)
    throw new SafetensorsError(
      "SIZE_MISMATCH",
      `there are ${result.length} bytes for ${count} elements of ${to}`,
    );
  for (let at = 0; at < count; at += BLOCK) {
    const now = Math.min(BLOCK, count - at);
    module.bytes(before, now * size).set(bytes.subarray(at * size, (at + now) * size));
    widen?.(before, middle, now);
    narrow?.(middle, after, now);
    result.set(module.bytes(after, now * sizeAfter), at * sizeAfter);
  }
  return result;
}

const WIDENED: readonly FloatDtype[] = ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];
const NARROWED: readonly FloatDtype[] = ["F32", "F16", "BF16", "F8_E4M3"];

/**
 * What `floatCaster` gives, from a kernel where there is one. The bytes that it returns are valid until the next call.
 *
 * @throws as `floatCaster` does
 */
export async function kernelCaster(
  from: FloatDtype,
  to: FloatDtype,
  options: CastOptions = {},
  tensor?: string,
): Promise<(bytes: Uint8Array) => Uint8Array> {
  const usual = to === "F8_E4M3" ? "saturate" : "nonsaturate";
  const isUsual = options.stochastic === undefined && (options.overflow ?? usual) === usual;
  const isDone = isUsual && WIDENED.includes(from) && NARROWED.includes(to);
  const module = isDone ? await kernelModule() : undefined;
  if (!module) return floatCaster(from, to, options, tensor);
  let memory = new Uint8Array(0);
  return (bytes) => {
    const size = Math.floor((bytes.length * DTYPES[to].bits) / DTYPES[from].bits);
    if (memory.length < size) memory = new Uint8Array(size);
    return castFloatsBy(module, from, to, bytes, memory.subarray(0, size));
  };
}
