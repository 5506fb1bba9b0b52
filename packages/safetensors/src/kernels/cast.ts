import { type CastOptions, castFloats, type FloatDtype, floatCaster } from "../dtype/cast.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { CastKernel, KernelFunctions } from "./functions.ts";
import { type KernelModule, ownKernelModule } from "./module.ts";

/**
 * Elements that are cast at a time where they go through other memory: what they are before, as F32 and after fits the second
 * cache. A multiple of 16.
 */
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
  if (to === "F8_E5M2") return functions.f32ToE5M2;
  return undefined;
}

/** Neither from F32 nor to it. */
function beside(functions: KernelFunctions, from: FloatDtype, to: FloatDtype): CastKernel | undefined {
  if (from === "F8_E4M3" && to === "BF16") return functions.e4m3ToBf16;
  if (from === "F8_E5M2" && to === "BF16") return functions.e5m2ToBf16;
  if (from === "BF16" && to === "F8_E4M3") return functions.bf16ToE4M3;
  if (from === "BF16" && to === "F8_E5M2") return functions.bf16ToE5M2;
  return undefined;
}

/** In one step. */
function direct(functions: KernelFunctions, from: FloatDtype, to: FloatDtype): CastKernel | undefined {
  if (from === to) return undefined;
  if (from === "F32") return narrowing(functions, to);
  return to === "F32" ? widening(functions, from) : beside(functions, from, to);
}

/** By way of F32. The module reserves what at most so many elements at a time need there. */
function inTwoSteps(
  module: KernelModule,
  from: FloatDtype,
  to: FloatDtype,
  most: number,
): CastKernel | undefined {
  const widen = widening(module.functions, from);
  const narrow = narrowing(module.functions, to);
  if (from === to || !widen || !narrow) return undefined;
  const floats = module.reserve(most * 4);
  return (source, target, count) => {
    widen(source, floats, count);
    narrow(floats, target, count);
  };
}

/** What a cast reserves at most. */
export const CAST_ROOM: number = BLOCK * 12 + 4096;

/**
 * What `castFloats` gives, the same bytes, from a kernel where there is one: for F32, F16, BF16, F8_E4M3 and F8_E5M2 as each
 * other. What lies in the memory of the module is not copied, neither before the cast nor after it.
 *
 * @param module JavaScript does it unless given
 * @param into memory of the size of the result, none of which is `bytes`; new memory unless given
 * @throws as `castFloats` does; `SIZE_MISMATCH` if `into` is not as large as the result
 */
export function castFloatsBy(
  module: KernelModule | undefined,
  from: FloatDtype,
  to: FloatDtype,
  bytes: Uint8Array,
  into?: Uint8Array,
): Uint8Array {
  const [size, sizeAfter] = [DTYPES[from].bits / 8, DTYPES[to].bits / 8];
  const count = bytes.length / size;
  const room = Math.min(BLOCK, count + 16);
  module?.clear();
  const inOneStep = module && direct(module.functions, from, to);
  const kernel = inOneStep ?? (module && inTwoSteps(module, from, to, room));
  if (!module || !kernel || !Number.isInteger(count) || count < LEAST) {
    const cast = castFloats(from, to, bytes);
    if (into) checkSize(into, cast.length);
    into?.set(cast);
    return into ?? cast;
  }
  const result = into ?? new Uint8Array(count * sizeAfter);
  checkSize(result, count * sizeAfter);
  const [before, after] = [room * size, room * sizeAfter].map((n) => module.reserve(n));
  const bytesAt = module.addressOf(bytes);
  const resultAt = module.addressOf(result);
  // What goes through no other memory is done at once.
  const block = inOneStep && bytesAt !== undefined && resultAt !== undefined ? count : BLOCK;
  for (let at = 0, now: number; at < count; at += now) {
    const left = count - at;
    // A kernel goes on to the next multiple of 16: what is left then is cast beside, as others own what lies behind it.
    now = left < 16 ? left : Math.min(block, left - (left % 16));
    const source = now < 16 || bytesAt === undefined ? before! : bytesAt + at * size;
    const target = now < 16 || resultAt === undefined ? after! : resultAt + at * sizeAfter;
    if (source === before) module.bytes(source, now * size).set(bytes.subarray(at * size, (at + now) * size));
    kernel(source, target, now);
    if (target === after) result.set(module.bytes(target, now * sizeAfter), at * sizeAfter);
  }
  return result;
}

function checkSize(into: Uint8Array, size: number): void {
  if (into.length !== size)
    throw new SafetensorsError("SIZE_MISMATCH", `there are ${into.length} bytes for a result of ${size}`);
}

const CAST: readonly FloatDtype[] = ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];

/** Bytes of the pieces of a cast, before it and after it: what `save` writes at a time. */
const PIECE_BYTES = 1 << 20;

/** A module with the memory for one cast at a time. */
interface Lease {
  readonly module: KernelModule;
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

/** Those that wait for the next cast; more at the same time are made anew. */
const idle: Lease[] = [];
const MOST_IDLE = 2;

async function lease(): Promise<Lease | undefined> {
  const kept = idle.pop();
  if (kept) return kept;
  const module = await ownKernelModule();
  if (!module) return undefined;
  const both = module.setApart(2 * PIECE_BYTES, CAST_ROOM);
  return { module, input: both.subarray(0, PIECE_BYTES), output: both.subarray(PIECE_BYTES) };
}

/** Casts a tensor piece by piece: see `kernelCaster`. */
export interface Caster {
  /** Where bytes are best put to be cast, and how many of them fit, before the cast and after it; else they may be anywhere. */
  readonly memory?: Uint8Array;
  /** What `floatCaster` gives; the result is valid until the next call. */
  readonly cast: (bytes: Uint8Array) => Uint8Array;
  /** Leaves the memory to the next cast. Not to be called while something still writes into it. */
  release(): void;
}

/**
 * What `floatCaster` gives, from a kernel where there is one, with memory in which it need not copy. Each caster has its
 * own.
 *
 * @throws as `floatCaster` does
 */
export async function kernelCaster(
  from: FloatDtype,
  to: FloatDtype,
  options: CastOptions = {},
  tensor?: string,
): Promise<Caster> {
  const usual = to === "F8_E4M3" ? "saturate" : "nonsaturate";
  const isUsual = options.stochastic === undefined && (options.overflow ?? usual) === usual;
  const isDone = isUsual && CAST.includes(from) && CAST.includes(to);
  const leased = isDone ? await lease() : undefined;
  if (!leased) return { cast: floatCaster(from, to, options, tensor), release: () => {} };
  const { module, input, output } = leased;
  return {
    memory: input,
    cast: (bytes) => {
      const size = Math.floor((bytes.length * DTYPES[to].bits) / DTYPES[from].bits);
      return castFloatsBy(module, from, to, bytes, output.subarray(0, size));
    },
    release: () => {
      if (idle.length < MOST_IDLE) idle.push(leased);
    },
  };
}
