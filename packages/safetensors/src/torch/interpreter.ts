import { quote, SafetensorsError } from "../errors.ts";
import { classifyGlobal, isScriptClass } from "./globals.ts";
import { MAX_PICKLE_COPIES } from "./limits.ts";
import { PyDict, PyTuple } from "./pickle/containers.ts";
import { PickleFault } from "./pickle/fault.ts";
import type { PickleHooks } from "./pickle/hooks.ts";
import type { GlobalRef, PickleNode, PickleValue } from "./pickle/values.ts";
import { bytesOf } from "./python-bytes.ts";
import { type CopyBudget, PYTHON_CALLS } from "./python-calls.ts";
import { REBUILD_CALLS } from "./rebuild.ts";
import { fillScriptObject, SCRIPT_CALLS } from "./script.ts";
import { mayBeExplained, TensorFunctions } from "./tensor-functions.ts";

type Call = (args: readonly PickleValue[]) => PickleValue | undefined;

/** What is outside of a pickle, and what it may therefore refer to. */
export interface PickleSurroundings {
  /** The value that a persistent id stands for. Throws a `PickleFault` for what is no such id. */
  persistentLoad(id: PickleValue): PickleValue;
  /** Opens a PyTorch file that lies in the pickle as bytes. */
  loadBytes(bytes: Uint8Array): PickleValue;
}

/**
 * What PyTorch's pickles mean: storages by persistent id, tensors by the calls of the allow-list, objects of TorchScript
 * as dicts of their attributes. A name that no checkpoint needs ends the reading.
 */
export class TorchInterpreter implements PickleHooks, CopyBudget {
  readonly #calls = new Map<GlobalRef, Call>();
  readonly #surroundings: PickleSurroundings;
  readonly #functions = new TensorFunctions();
  /** Names that are forbidden unless their calls explain them. */
  readonly #doubtful = new Map<GlobalRef, SafetensorsError>();
  #budget: number;

  constructor(pickleLength: number, surroundings: PickleSurroundings) {
    this.#budget = Math.min(pickleLength, MAX_PICKLE_COPIES);
    this.#surroundings = surroundings;
  }

  onGlobal(ref: GlobalRef): void {
    const { path, role, reason } = classifyGlobal(ref.module, ref.name);
    if (role === "forbidden") {
      const text = `the file asks for ${quote(path)}, which ${reason}`;
      const error = new SafetensorsError("FORBIDDEN_GLOBAL", text, { global: path, at: ref.at });
      if (!mayBeExplained(path)) throw error;
      this.#doubtful.set(ref, error);
    }
    if (path === "joblib.numpy_pickle.NumpyArrayWrapper") throw joblibArrays();
    const call = this.#callOf(path);
    if (call) this.#calls.set(ref, call);
  }

  call(callable: GlobalRef, args: PyTuple): PickleValue | undefined {
    const forbidden = this.#doubtful.get(callable);
    if (forbidden === undefined) return this.#calls.get(callable)?.(args.items);
    const made = this.#functions.call(callable, args);
    if (made === undefined) throw forbidden;
    return made;
  }

  onStop(): void {
    for (const [ref, error] of this.#doubtful) if (!this.#functions.explains(ref)) throw error;
  }

  /** Attributes of a state dict (`_metadata`) are accepted and dropped. */
  build(target: PickleNode, state: PickleValue): boolean {
    if (!(target instanceof PyDict) || target.type === "dict") return false;
    if (isScriptClass(target.type)) {
      fillScriptObject(target, state, this);
      return true;
    }
    return state === null || state instanceof PyDict || state instanceof PyTuple;
  }

  persistentLoad(id: PickleValue): PickleValue {
    return this.#surroundings.persistentLoad(id);
  }

  spend(count: number): void {
    this.#budget -= count;
    if (this.#budget < 0) throw new PickleFault("its calls copy more values than it has bytes");
  }

  #callOf(path: string): Call | undefined {
    if (isScriptClass(path)) return (args) => (args.length === 0 ? new PyDict(path) : undefined);
    if (path === "torch.storage._load_from_bytes") return (args) => this.#loadBytes(args);
    const python = PYTHON_CALLS.get(path);
    if (python) return (args) => python(args, this);
    return SCRIPT_CALLS.get(path) ?? REBUILD_CALLS.get(path);
  }

  /** `_load_from_bytes(bytes)`: a file of torch.save in bytes, as tensors in pickles of others are written. */
  #loadBytes(args: readonly PickleValue[]): PickleValue | undefined {
    const bytes = args.length === 1 ? bytesOf(args[0]) : undefined;
    return bytes && this.#surroundings.loadBytes(bytes);
  }
}

function joblibArrays(): SafetensorsError {
  const text =
    "joblib has put NumPy arrays between the parts of this pickle: save the tensors with torch.save";
  return new SafetensorsError("UNSUPPORTED", text, { kind: "joblib" });
}
