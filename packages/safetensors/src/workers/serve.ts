import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { open } from "../checkpoint/open.ts";
import { openStore } from "../checkpoint/open-store.ts";
import type { FloatDtype } from "../dtype/cast.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { ReadMode } from "../format/mode.ts";
import type { SharedRange } from "../kernels/memory.ts";
import { numpyReader } from "../numpy/index.ts";
import { executePlan } from "../plan/execute.ts";
import { planReads } from "../plan/plan.ts";
import { urlPlace } from "../source/url-place.ts";
import { torchReader } from "../torch/index.ts";
import { sliceView } from "../view/slice.ts";
import type { TensorView } from "../view/tiling.ts";
import { byteLength, isContiguous } from "../view/view.ts";
import { decodeInto, isFloat32 } from "./decode-into.ts";
import { aligned } from "./groups.ts";
import { countForCollector } from "./memory.ts";
import {
  type CastMessage,
  type ComputeMessage,
  type FromWorker,
  type Job,
  receiveJobs,
  type SentBytes,
  type SentIndex,
  type SentInput,
  type SentTensor,
  sendError,
  type ToWorker,
} from "./messages.ts";

/** Memory for reads that cannot be made straight into place: four in flight. */
const READ_BYTES = 20 << 20;

/** Elements of a cast that a worker takes at a time: whole bytes in any dtype, and a fifth of a millisecond's work. */
const PIECE_VALUES = 1 << 18;

/** Most bytes of memory for decoding that are kept for the next batch. */
const KEPT_BYTES = 16 << 20;

type OpenMessage = Extract<ToWorker, { kind: "open" }>;
type RunMessage = Extract<ToWorker, { kind: "run" }>;

/** Opens a path, where the runtime has files. */
export type OpenFile = (path: string, mode: ReadMode | undefined) => Promise<Checkpoint>;

/** The worker's side of a pool: opens the input for itself, then reads and decodes what it is told to. */
export class PoolServer {
  readonly #post: (message: FromWorker) => void;
  readonly #openFile: OpenFile | undefined;
  #checkpoint: Checkpoint | undefined;
  /** Of the calls that have batches here: what ends them, and how many batches there are. */
  readonly #calls = new Map<number, { readonly stopper: AbortController; batches: number }>();
  #scratch: Uint8Array | undefined;
  #range: SharedRange | undefined;
  #caster: Promise<CastInto> | undefined;

  constructor(post: (message: FromWorker) => void, openFile?: OpenFile) {
    this.#post = post;
    this.#openFile = openFile;
  }

  /** Takes a message from the pool. Never throws or rejects: what goes wrong is sent back. */
  async receive(message: ToWorker): Promise<void> {
    if (message.kind === "abort") return this.#calls.get(message.call)?.stopper.abort();
    if (message.kind === "memory") {
      this.#range = message.range;
      return;
    }
    const batch = message.kind === "open" ? undefined : message.batch;
    try {
      if (message.kind === "open") this.#post(await this.#open(message));
      else if (message.kind === "run") this.#post(await this.#run(message));
      else this.#post(await (message.kind === "cast" ? this.#cast(message) : compute(message)));
    } catch (error) {
      this.#post({ kind: "failed", batch, error: sendError(error) });
    }
  }

  /** Takes a piece after the other until there are no more. */
  async #cast({ batch, from, to, bytes, result, next }: CastMessage): Promise<FromWorker> {
    this.#caster ??= loadCaster(this.#range);
    const castInto = await this.#caster;
    const [source, target] = [this.#arrayOf(bytes), this.#arrayOf(result)];
    const [size, sizeAfter] = [from, to].map((dtype) => (PIECE_VALUES * DTYPES[dtype].bits) / 8);
    for (let at = Atomics.add(next, 0, 1); at * size! < source.length; at = Atomics.add(next, 0, 1)) {
      const piece = source.subarray(at * size!, (at + 1) * size!);
      castInto(from, to, piece, target.subarray(at * sizeAfter!, (at + 1) * sizeAfter!));
    }
    return { kind: "done", batch };
  }

  #arrayOf(bytes: SentBytes): Uint8Array {
    if (bytes instanceof Uint8Array) return bytes;
    return new Uint8Array(this.#range!.memory.buffer, bytes.at, bytes.length);
  }

  async #open({ input, mode, wantsIndex }: OpenMessage): Promise<FromWorker> {
    this.#checkpoint = await openInput(input, mode, this.#openFile);
    return { kind: "opened", index: wantsIndex ? indexOf(this.#checkpoint) : undefined };
  }

  async #run(message: RunMessage): Promise<FromWorker> {
    const call = this.#calls.get(message.call) ?? { stopper: new AbortController(), batches: 0 };
    this.#calls.set(message.call, call);
    call.batches++;
    try {
      await this.#read(message, call.stopper.signal);
    } finally {
      if (--call.batches === 0) this.#calls.delete(message.call);
    }
    return { kind: "done", batch: message.batch };
  }

  /** Reads what needs no decoding straight into the memory of the batch, all else beside it. */
  async #read({ form, memory, isNew, jobs: sent }: RunMessage, signal: AbortSignal): Promise<void> {
    const jobs = receiveJobs(sent);
    if (isNew) countForCollector(jobs.reduce((sum, { length }) => sum + length, 0));
    const views = jobs.map((job) => this.#viewOf(job));
    const besides = new Map<number, number>();
    let size = 0;
    for (const [i, view] of views.entries()) {
      if (form === "bytes" || isFloat32(view.dtype)) continue;
      besides.set(i, size);
      size += aligned(byteLength(view));
    }
    const scratch = this.#takeScratch(size);
    const targetOf = (i: number): Uint8Array => {
      const at = besides.get(i);
      if (at !== undefined) return scratch.subarray(at, at + byteLength(views[i]!));
      return new Uint8Array(memory, jobs[i]!.at, jobs[i]!.length);
    };
    const nameOf = (i: number): string => jobs[i]!.name;
    const reads = executePlan(planReads(views), { targetOf, nameOf, budget: READ_BYTES, signal });
    try {
      for await (const { tensor, bytes } of reads) {
        if (!besides.has(tensor)) continue;
        const { at, length } = jobs[tensor]!;
        decodeInto(views[tensor]!.dtype, bytes, new Float32Array(memory, at, length / 4));
      }
    } finally {
      this.#giveScratch(scratch);
    }
  }

  #viewOf({ name, dtype, wholeBytes, slices }: Job): TensorView {
    const { view } = this.#checkpoint!.get(name);
    if (view.dtype !== dtype || byteLength(view) !== wholeBytes) {
      const text = `tensor ${quote(name)} is another one than it was: the input has changed`;
      throw new SafetensorsError("SOURCE_CHANGED", text, { tensor: name });
    }
    return slices.reduce<TensorView>(sliceView, view);
  }

  /** Batches may overlap where reads wait, so one of them takes the memory that is kept, and others get their own. */
  #takeScratch(size: number): Uint8Array {
    const kept = this.#scratch;
    if (!kept || kept.length < size) return new Uint8Array(size);
    this.#scratch = undefined;
    return kept;
  }

  #giveScratch(scratch: Uint8Array): void {
    if (scratch.length > (this.#scratch?.length ?? 0) && scratch.length <= KEPT_BYTES)
      this.#scratch = scratch;
  }
}

/** Loaded when first asked for, as most pools only read. */
async function compute({ batch, call, dtype, result, part }: ComputeMessage): Promise<FromWorker> {
  const [{ kernelModule }, { denseWasm }] = await Promise.all([
    import("../kernels/module.ts"),
    import("../quant/kernels/wasm.ts"),
  ]);
  denseWasm(await kernelModule(), call, dtype, result, part);
  return { kind: "done", batch };
}

type CastInto = (from: FloatDtype, to: FloatDtype, bytes: Uint8Array, result: Uint8Array) => void;

/** Loaded once, as an import takes a tenth of a millisecond even then. Its kernels work in the range, if there is one. */
async function loadCaster(range: SharedRange | undefined): Promise<CastInto> {
  const [{ kernelModule, sharedKernelModule }, { castFloatsBy }] = await Promise.all([
    import("../kernels/module.ts"),
    import("../kernels/cast.ts"),
  ]);
  const module = await (range ? sharedKernelModule(range) : kernelModule());
  return (from, to, bytes, result) => castFloatsBy(module, from, to, bytes, result);
}

async function openInput(
  input: SentInput,
  mode: ReadMode | undefined,
  openFile: OpenFile | undefined,
): Promise<Checkpoint> {
  if (input.kind === "path") {
    if (openFile) return openFile(input.path, mode);
    const advice = "give an address that begins with http: or https:, a File, or bytes";
    throw new SafetensorsError(
      "UNSUPPORTED",
      `there are no files here to open ${quote(input.path)}: ${advice}`,
    );
  }
  const options = { mode, readers: [torchReader, numpyReader] };
  if (input.kind === "blob") return open(input.blob, options);
  if (input.kind === "bytes") return open(input.bytes, options);
  const { headers, retry } = input;
  const { store, file } = urlPlace(input.url, { headers, retry });
  return openStore(store, { ...options, file });
}

function indexOf(checkpoint: Checkpoint): SentIndex {
  const { format, metadata, problems } = checkpoint;
  const tensors = Array.from(checkpoint, ({ name, view }): SentTensor => {
    const { dtype, shape } = view;
    return "pieces" in view || isContiguous(view)
      ? { name, dtype, shape }
      : { name, dtype, shape, strides: view.strides };
  });
  return { format, metadata: new Map(metadata), problems: problems.map(sendError), tensors };
}
