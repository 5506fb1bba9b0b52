import type { FloatDtype } from "../dtype/cast.ts";
import type { Dtype } from "../dtype/dtype.ts";
import { type ErrorCode, type ErrorDetails, SafetensorsError } from "../errors.ts";
import type { ReadMode } from "../format/mode.ts";
import type { SharedRange } from "../kernels/memory.ts";
import type { KernelCall } from "../quant/kernels/call.ts";
import type { Part } from "../quant/kernels/wasm.ts";
import type { RetryOptions } from "../source/backoff.ts";
import type { IndexItem } from "../view/index-items.ts";

/** What the workers are to open, in a form that can be sent to them. */
export type SentInput =
  | { readonly kind: "path"; readonly path: string }
  | {
      readonly kind: "url";
      readonly url: string;
      readonly headers: Readonly<Record<string, string>> | undefined;
      readonly retry: RetryOptions | undefined;
    }
  | { readonly kind: "blob"; readonly blob: Blob }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** How tensors come: as the packed bytes of their dtype, or as 32-bit floats. */
export type TensorForm = "bytes" | "F32";

/** One tensor, or a part of it, that a worker reads into the memory of its batch. */
export interface Job {
  readonly name: string;
  /** What the whole tensor is taken to be: a worker that sees another one has opened another file. */
  readonly dtype: Dtype;
  readonly wholeBytes: number;
  /** The indexes to apply one after the other: the caller's, then that of the part. */
  readonly slices: readonly (readonly IndexItem[])[];
  /** Where the result lies in the memory, in bytes. */
  readonly at: number;
  readonly length: number;
}

/** Jobs by column: a thousand objects would take ten times as long to be sent. */
export interface SentJobs {
  readonly names: readonly string[];
  readonly dtypes: readonly Dtype[];
  /** `wholeBytes`, `at` and `length` of each. */
  readonly numbers: Float64Array;
  /** By the number of the job, where there are any. */
  readonly slices: ReadonlyMap<number, Job["slices"]>;
}

export function sendJobs(jobs: readonly Job[]): SentJobs {
  const numbers = new Float64Array(3 * jobs.length);
  const slices = new Map<number, Job["slices"]>();
  for (const [i, job] of jobs.entries()) {
    numbers.set([job.wholeBytes, job.at, job.length], 3 * i);
    if (job.slices.length > 0) slices.set(i, job.slices);
  }
  return { names: jobs.map(({ name }) => name), dtypes: jobs.map(({ dtype }) => dtype), numbers, slices };
}

export function receiveJobs({ names, dtypes, numbers, slices }: SentJobs): Job[] {
  return names.map((name, i) => {
    const [wholeBytes = 0, at = 0, length = 0] = numbers.subarray(3 * i);
    return { name, dtype: dtypes[i]!, wholeBytes, at, length, slices: slices.get(i) ?? [] };
  });
}

/** From the pool to a worker. */
export type ToWorker =
  | {
      readonly kind: "open";
      readonly input: SentInput;
      readonly mode: ReadMode | undefined;
      readonly wantsIndex: boolean;
    }
  | {
      readonly kind: "run";
      readonly batch: number;
      readonly call: number;
      readonly form: TensorForm;
      readonly memory: SharedArrayBuffer;
      readonly isNew: boolean;
      readonly jobs: SentJobs;
    }
  | { readonly kind: "abort"; readonly call: number }
  /** Memory of the pool, and the range of it that the worker's kernels work in: the first message, if there is any. */
  | { readonly kind: "memory"; readonly range: SharedRange }
  | ComputeMessage
  | CastMessage;

/** A part of the work of a kernel call. */
export interface ComputeMessage {
  readonly kind: "compute";
  readonly batch: number;
  readonly call: KernelCall;
  readonly dtype: FloatDtype;
  /** Shared memory for the values of the whole call. */
  readonly result: Uint8Array;
  readonly part: Part;
}

/** Bytes in shared memory, or where they lie in the memory of the pool. */
export type SentBytes = Uint8Array | { readonly at: number; readonly length: number };

/** A cast from shared memory to shared memory, of which each worker does as many pieces as it can. */
export interface CastMessage {
  readonly kind: "cast";
  readonly batch: number;
  readonly from: FloatDtype;
  readonly to: FloatDtype;
  readonly bytes: SentBytes;
  readonly result: SentBytes;
  /** In shared memory, one number: the piece that nobody has taken yet. */
  readonly next: Int32Array;
}

/** From a worker to the pool. */
export type FromWorker =
  | { readonly kind: "opened"; readonly index: SentIndex | undefined }
  | { readonly kind: "done"; readonly batch: number }
  /** Of a batch, or without one of the opening. */
  | { readonly kind: "failed"; readonly batch: number | undefined; readonly error: SentError };

/** What the pool knows of a checkpoint: its headers. */
export interface SentIndex {
  readonly format: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly problems: readonly SentError[];
  readonly tensors: readonly SentTensor[];
}

export interface SentTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** In elements; absent for a tensor that lies in row-major order. */
  readonly strides?: readonly number[];
}

/** An error in a form that can be sent; one that is not of this library has no code. */
export interface SentError {
  readonly code?: ErrorCode;
  readonly message: string;
  readonly details?: ErrorDetails;
}

/** A cause may be anything, so only its text is sent. */
export function sendError(error: unknown): SentError {
  if (!(error instanceof SafetensorsError)) return { message: textOf(error) };
  const { cause = error.cause, ...details } = error.details;
  const sent = cause === undefined ? details : { ...details, cause: textOf(cause) };
  return { code: error.code, message: error.reason, details: sent };
}

/** The error that was sent. */
export function receiveError({ code, message, details = {} }: SentError): Error {
  if (code === undefined) return new Error(message);
  const { cause, ...others } = details;
  return new SafetensorsError(
    code,
    message,
    cause === undefined ? others : { ...others, cause: new Error(String(cause)) },
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
