import { SafetensorsError } from "../errors.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

/** A worker, whatever the runtime makes it from. */
export interface Thread {
  post(message: ToWorker): void;
  /** Whether it keeps the process alive; where there is no process, nothing happens. */
  hold(isHeld: boolean): void;
  /** Ends it at once. */
  stop(): Promise<void>;
}

/** What is to be told of a worker. */
export interface ThreadEvents {
  readonly message: (message: FromWorker) => void;
  /** It has ended, by itself, for this reason. May be called more than once. */
  readonly died: (reason: string) => void;
}

/** The part of the web's Worker that is used. */
interface WebWorker {
  postMessage(message: ToWorker): void;
  terminate(): void;
  onmessage: ((event: { readonly data: FromWorker }) => void) | null;
  onmessageerror: (() => void) | null;
  onerror: ((event: { readonly message?: string; preventDefault(): void }) => void) | null;
}

declare const Worker: new (program: URL, options: { type: "module" }) => WebWorker;

/** The part of Node's Worker, which Deno and Bun have too, that is used. */
interface NodeWorker {
  postMessage(message: ToWorker): void;
  terminate(): Promise<unknown>;
  ref(): void;
  unref(): void;
  on(event: string, listener: (value: never) => void): void;
}

interface Builtins {
  readonly worker_threads: { readonly Worker: new (program: URL, options: NodeOptions) => NodeWorker };
  readonly os: { availableParallelism(): number };
}

interface NodeOptions {
  readonly execArgv: readonly string[];
}

/** How a portable module gets at the modules of Node, Deno and Bun, where there are any. */
function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: Name): Builtins[Name] | undefined };
  };
  return process?.getBuiltinModule?.(name);
}

/** No literal in `new URL`, so that bundlers for browsers do not follow it. */
const NODE_PROGRAM = "../node/pool-worker.js";

/** Options of the main thread, such as `--input-type`, need not be possible for a worker. */
const NODE_OPTIONS: NodeOptions = { execArgv: [] };

/**
 * Starts a worker.
 *
 * @param program instead of the one that belongs to the runtime
 * @throws `UNSUPPORTED` where there are no workers or memory cannot be shared with them
 */
export function startThread(program: URL | undefined, events: ThreadEvents): Thread {
  const threads = builtin("worker_threads");
  if (threads) {
    const url = program ?? new URL(NODE_PROGRAM, import.meta.url);
    return fromNode(new threads.Worker(url, NODE_OPTIONS), events);
  }
  checkSharing();
  if (program) return fromWeb(new Worker(program, { type: "module" }), events);
  // Bundlers know this form, word for word.
  return fromWeb(new Worker(new URL("./worker.js", import.meta.url), { type: "module" }), events);
}

/** Workers, unless said otherwise: more gain little, as they share the way to memory. */
const USUAL_WORKERS = 4;

/** Most workers: each costs some 10 MiB and a start, and none is faster for being one of hundreds. */
const MAX_WORKERS = 64;

/**
 * The number of workers of a pool: the one that is asked for, or else one for each processor, 4 at most.
 *
 * @throws `OUT_OF_RANGE` for a number that there cannot be
 */
export function workerCount(asked: number | undefined): number {
  const count = asked ?? Math.min(processors(), USUAL_WORKERS);
  if (Number.isInteger(count) && count > 0 && count <= MAX_WORKERS) return count;
  throw new SafetensorsError("OUT_OF_RANGE", `a pool has 1 to ${MAX_WORKERS} workers, not ${count}`);
}

/** Processors of this machine, as far as the runtime tells. */
function processors(): number {
  const { navigator } = globalThis as { navigator?: { readonly hardwareConcurrency?: number } };
  return navigator?.hardwareConcurrency ?? builtin("os")?.availableParallelism() ?? 1;
}

function checkSharing(): void {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (typeof Worker === "undefined") {
    throw new SafetensorsError("UNSUPPORTED", "there are no workers here", { kind: "workers" });
  }
  if (typeof SharedArrayBuffer !== "undefined" && crossOriginIsolated !== false) return;
  const headers =
    '"Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp"';
  const text = `this page cannot share memory with workers; it must be served with the headers ${headers}`;
  throw new SafetensorsError("UNSUPPORTED", text, { kind: "shared-memory" });
}

function fromNode(worker: NodeWorker, { message, died }: ThreadEvents): Thread {
  worker.on("message", message);
  worker.on("messageerror", (error: Error) => died(error.message));
  worker.on("error", (error: unknown) => died(error instanceof Error ? error.message : String(error)));
  worker.on("exit", (code: number) => died(`it ended with code ${code}`));
  return {
    post: (sent) => worker.postMessage(sent),
    hold: (isHeld) => (isHeld ? worker.ref() : worker.unref()),
    stop: async () => void (await worker.terminate()),
  };
}

function fromWeb(worker: WebWorker, { message, died }: ThreadEvents): Thread {
  worker.onmessage = ({ data }) => message(data);
  worker.onmessageerror = () => died("a message could not be read");
  worker.onerror = (event) => {
    // Else it is reported a second time, as an error that nobody handles.
    event.preventDefault();
    // A program that cannot be loaded gives an event without a message.
    died(event.message ?? "its program could not be loaded");
  };
  return {
    post: (sent) => worker.postMessage(sent),
    hold: () => {},
    stop: async () => worker.terminate(),
  };
}
