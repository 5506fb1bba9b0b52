/** Reads and decodes tensors in workers, into shared memory. */
export type { PoolInput } from "./input.ts";
export { type KernelPool, type KernelPoolOptions, openKernelPool } from "./kernel-pool.ts";
export type { TensorForm } from "./messages.ts";
export {
  openPool,
  type PoolGetOptions,
  type PoolOptions,
  type PoolReadOptions,
  type PoolTensor,
  type PoolTensorInfo,
  type WorkerPool,
} from "./pool.ts";
