import { SafetensorsError } from "../errors.ts";
import type { Progress } from "../plan/execute.ts";
import type { ReadOptions } from "../source/source.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { chooseTensors, type LoadedTensor, readHandles, type TensorChoice } from "./read-tensors.ts";
import type { TensorHandle } from "./tensor.ts";

/** Options of `Checkpoint.load`. */
export interface LoadOptions extends TensorChoice, ReadOptions {
  /** Reads in flight, instead of what suits the source. */
  readonly concurrency?: number | undefined;
  /**
   * Memory of at least so many bytes, for about a gigabyte of tensors at once; ordinary memory unless said otherwise. The
   * first touch of its pages takes longer than reading: `hugePages` of "safetensors.js/node" makes that faster.
   */
  readonly allocate?: ((byteLength: number) => Uint8Array) | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Memory is taken in pieces of so many bytes: in some runtimes no array can have more than four gigabytes. */
const ARENA_BYTES = 1 << 30;

/** Where tensors begin: on a cache line, which suits every dtype and every vector unit. */
const ALIGNMENT = 64;

/** One piece of memory for several tensors. */
interface Arena {
  byteLength: number;
  memory?: Uint8Array;
}

/** Reads tensors into few large pieces of memory. See `Checkpoint.load`. */
export async function loadTensors(
  checkpoint: Checkpoint,
  options: LoadOptions,
): Promise<Map<string, LoadedTensor>> {
  const { allocate = (byteLength: number) => new Uint8Array(byteLength) } = options;
  const handles = chooseTensors(checkpoint, options);
  const places = placeInArenas(handles);
  const into = (tensor: TensorHandle): Uint8Array => {
    const { arena, start } = places.get(tensor)!;
    arena.memory ??= allocate(arena.byteLength);
    const { memory, byteLength } = arena;
    if (memory.length >= byteLength) return memory.subarray(start, start + tensor.byteLength);
    const text = `${byteLength} bytes of memory were asked for, ${memory.length} were given`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  };
  const loaded = new Map<string, LoadedTensor>();
  for await (const tensor of readHandles(handles, { ...options, into })) loaded.set(tensor.name, tensor);
  // They come as they are complete, and are given in order.
  return new Map(handles.map(({ name }) => [name, loaded.get(name)!]));
}

function placeInArenas(handles: readonly TensorHandle[]): Map<TensorHandle, { arena: Arena; start: number }> {
  const places = new Map<TensorHandle, { arena: Arena; start: number }>();
  let arena: Arena = { byteLength: 0 };
  for (const tensor of handles) {
    let start = Math.ceil(arena.byteLength / ALIGNMENT) * ALIGNMENT;
    if (start > 0 && start + tensor.byteLength > ARENA_BYTES) {
      arena = { byteLength: 0 };
      start = 0;
    }
    arena.byteLength = start + tensor.byteLength;
    places.set(tensor, { arena, start });
  }
  return places;
}
