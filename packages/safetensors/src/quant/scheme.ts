import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import type { ReadOptions } from "../source/source.ts";
import type { Fields, QuantConfig } from "./config.ts";
import type { QuantizedWeight } from "./weight.ts";

/** Something about a quantised checkpoint that does not fit together. */
export interface QuantProblem {
  /** The tensor that it is seen at, or the layer. */
  readonly name: string;
  /** What is there, what was expected, and what it leads to. */
  readonly text: string;
}

/** Weights in a scheme that is known by name, and that this library does not take apart. */
export interface UnsupportedWeights {
  readonly scheme: string;
  readonly why: string;
  /** Stored tensors. */
  readonly names: readonly string[];
}

/** The tensors of one module by what follows the last dot: `qweight`, `scales`. */
export type ModuleTensors = ReadonlyMap<string, TensorHandle>;

/** A checkpoint while its quantised weights are looked for. What a scheme has taken, later ones no longer see. */
export interface Finder {
  readonly checkpoint: Checkpoint;
  /** What the configuration says, if there is one. */
  readonly config: QuantConfig | undefined;
  /** Fields of config.json, whether it says something of quantisation or not. */
  readonly model: Fields;
  readonly signal: ReadOptions["signal"];
  /** Modules that have tensors which no scheme has taken: names of modules, and what is left in them. */
  modules(): Iterable<readonly [module: string, tensors: ModuleTensors]>;
  /** A tensor that no scheme has taken, by its whole name. */
  tensor(name: string): TensorHandle | undefined;
  /** Bytes of a small tensor that has to be read to know the layout. `LIMIT_EXCEEDED` if it is not small. */
  small(tensor: TensorHandle): Promise<Uint8Array>;
  /** Takes the parts of a weight, and what is besides. */
  add(weight: QuantizedWeight): void;
  /** Takes tensors that are no part of weights, and belong to the scheme: markers, scales of caches. */
  take(...names: readonly string[]): void;
  problem(name: string, text: string): void;
  /** Takes the tensors of layers in a scheme that is only known by name. */
  refuse(scheme: string, why: string, names: readonly string[]): void;
}

/** How weights are quantised in one family of layouts. */
export interface Scheme {
  /** Its name, as the field has it: `gptq`, `awq`, `compressed-tensors`. */
  readonly name: string;
  /** Whether the configuration says that the checkpoint is of this scheme. Such a scheme looks first. */
  claims(config: QuantConfig): boolean;
  /**
   * Looks for weights by configuration, names, dtypes and shapes. What does not fit together is a problem, never an
   * exception; the weight is added only if its values are sure.
   */
  find(finder: Finder): void | Promise<void>;
}
