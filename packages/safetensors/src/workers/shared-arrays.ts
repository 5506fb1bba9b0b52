import type { KernelCall } from "../quant/kernels/call.ts";
import { sharedMemory } from "./memory.ts";

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

/** Bytes in shared memory: the same if they are there already, else a copy. */
export function shared(bytes: Uint8Array): Uint8Array {
  if (bytes.buffer instanceof SharedArrayBuffer) return bytes;
  const copy = new Uint8Array(sharedMemory(bytes.length));
  copy.set(bytes);
  return copy;
}
