import type { KernelCall } from "../quant/kernels/call.ts";
import { countForCollector } from "./memory.ts";

/** The call with its arrays in shared memory, so that it is not copied for each worker. */
export function inSharedMemory(call: KernelCall): KernelCall {
  const moved = Object.entries(call).map(([name, value]) => {
    if (!ArrayBuffer.isView(value) || value.buffer instanceof SharedArrayBuffer) return [name, value];
    const array = value as Uint32Array;
    const copy = new (array.constructor as Uint32ArrayConstructor)(sharedMemory(array.byteLength));
    copy.set(array);
    return [name, copy];
  });
  return Object.fromEntries(moved) as KernelCall;
}

/** A copy in shared memory. */
export function shared(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(sharedMemory(bytes.length));
  copy.set(bytes);
  return copy;
}

/** New shared memory, which the garbage collector learns of. */
export function sharedMemory(bytes: number): SharedArrayBuffer {
  countForCollector(bytes);
  return new SharedArrayBuffer(bytes);
}
