import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { DTYPES, type DtypeInfo } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_STATED_BYTES } from "../limits.ts";
import type { ReadOptions } from "../source/source.ts";
import { type ConfigFiles, type Fields, modelFields, type QuantConfig, quantConfigOf } from "./config.ts";
import type { Finder, ModuleTensors, QuantProblem, Scheme, UnsupportedWeights } from "./scheme.ts";
import { SCHEMES } from "./schemes/index.ts";
import type { QuantizedWeight } from "./weight.ts";

/** What `findQuantized` takes. */
export interface FindOptions extends ReadOptions {
  /**
   * Parsed JSON of the files beside the weights, by file name: `{"config.json": {…}}`; see `QUANT_CONFIG_FILES`.
   * Without them, names, dtypes and shapes have to say it.
   */
  readonly configs?: ConfigFiles;
}

/** The quantised weights of a checkpoint. */
export interface Quantization {
  readonly config: QuantConfig | undefined;
  /** By the names that a dense checkpoint has for them. */
  readonly weights: ReadonlyMap<string, QuantizedWeight>;
  /** The weight that a stored tensor is a part of, or belongs to. */
  readonly weightOf: ReadonlyMap<string, QuantizedWeight>;
  /** Stored tensors that a dense checkpoint does not have, and that are no part of a weight. */
  readonly extras: ReadonlySet<string>;
  readonly problems: readonly QuantProblem[];
  readonly unsupported: readonly UnsupportedWeights[];
}

/**
 * Finds the quantised weights of a checkpoint: by its configuration, where there is one, and by names, dtypes and shapes,
 * which must agree with it. Only a few small tensors are read, such as those that state a shape.
 *
 * @throws errors of reading
 */
export async function findQuantized(
  checkpoint: Checkpoint,
  options: FindOptions = {},
): Promise<Quantization> {
  const files = options.configs ?? {};
  const config = quantConfigOf(files);
  const search = new Search(checkpoint, config, modelFields(files), options.signal);
  // Nothing else holds codes; of a checkpoint of plain floats this is all that is done.
  if (!hasCodes(checkpoint)) return search;
  search.group();
  const isFirst = (scheme: Scheme): boolean => config !== undefined && scheme.claims(config);
  for (const scheme of [...SCHEMES.filter(isFirst), ...SCHEMES.filter((one) => !isFirst(one))])
    await scheme.find(search);
  search.sweep();
  return search;
}

/** What the tensors that hold codes are called, in all layouts. */
const CODES =
  /^(?!.*(?:scale|zero|bias|shape|idx|mask))(?:.*weight.*|.*_proj|(?:.*_)?blocks|codes|_data|W_q|.*packed.*)$/;

/** What tensors are called that mean nothing without codes. */
const COMPANIONS =
  /^(?:qzeros|g_idx|scales|SCB|weight_(?:scale(?:_inv|_2)?|zero_point|shape|global_scale|g_idx)|scale_weight|absmax|quant_state\..*|.*_scales)$/;

class Search implements Finder, Quantization {
  readonly weights = new Map<string, QuantizedWeight>();
  readonly weightOf = new Map<string, QuantizedWeight>();
  readonly extras = new Set<string>();
  readonly problems: QuantProblem[] = [];
  readonly unsupported: UnsupportedWeights[] = [];
  readonly #modules = new Map<string, Map<string, TensorHandle>>();
  /** Maps that someone may be going through: what is taken from them is taken from a copy. */
  readonly #lent = new Set<ModuleTensors>();
  readonly checkpoint: Checkpoint;
  readonly config: QuantConfig | undefined;
  readonly model: Fields;
  readonly signal: AbortSignal | undefined;

  constructor(
    checkpoint: Checkpoint,
    config: QuantConfig | undefined,
    model: Fields,
    signal: AbortSignal | undefined,
  ) {
    this.checkpoint = checkpoint;
    this.config = config;
    this.model = model;
    this.signal = signal;
  }

  /** Puts the tensors of each module together. */
  group(): void {
    for (const tensor of this.checkpoint) {
      const [module, last] = parted(tensor.name);
      const tensors = this.#modules.get(module);
      if (tensors) tensors.set(last, tensor);
      else this.#modules.set(module, new Map([[last, tensor]]));
    }
  }

  *modules(): Iterable<readonly [string, ModuleTensors]> {
    for (const entry of this.#modules) {
      this.#lent.add(entry[1]);
      yield entry;
    }
  }

  tensor(name: string): TensorHandle | undefined {
    const [module, last] = parted(name);
    return this.#modules.get(module)?.get(last);
  }

  async small(tensor: TensorHandle): Promise<Uint8Array> {
    if (tensor.byteLength <= MAX_STATED_BYTES) return tensor.bytes({ signal: this.signal });
    const text = `tensor ${quote(tensor.name)} has ${tensor.byteLength} bytes, too many for one that states a layout`;
    const details = { tensor: tensor.name, limit: "MAX_STATED_BYTES" };
    throw new SafetensorsError("LIMIT_EXCEEDED", text, details);
  }

  /** Tells of codes that nothing has taken, in a checkpoint that is quantised: they would pass for dense weights. */
  sweep(): void {
    const isQuantized = this.config !== undefined || this.weights.size + this.problems.length > 0;
    if (!isQuantized) return;
    const told = new Set(this.problems.flatMap(({ name }) => [name, parted(name)[0]]));
    for (const [module, tensors] of this.#modules) {
      if (told.has(module)) continue;
      for (const [last, tensor] of tensors) {
        const text = told.has(tensor.name) ? undefined : this.#leftover(last, tensor);
        if (text === undefined) continue;
        this.problem(tensor.name, text);
        // One tensor of a module tells of all.
        break;
      }
    }
  }

  #leftover(last: string, { dtype, shape }: TensorHandle): string | undefined {
    const what = `is ${dtype} [${shape}]`;
    if (COMPANIONS.test(last))
      return `${what} and belongs to a quantised weight that is not there, or does not fit to it; it is left as it is`;
    const info = DTYPES[dtype];
    if (shape.length < 2 || !isCode(info) || !CODES.test(last)) return undefined;
    // Floats of 8 bits are numbers by themselves, where nothing says that they are more.
    if (info.kind === "float" && info.bits === 8 && !this.config) return undefined;
    return `${what} like the codes of a quantised weight, and nothing beside it makes it one: scales may be missing, or the configuration is that of another layout; it is left as it is`;
  }

  add(weight: QuantizedWeight): void {
    const known = this.weights.get(weight.name);
    if (known) {
      this.problem(weight.name, `is there twice: as ${known.scheme} and as ${weight.scheme}`);
      return;
    }
    this.weights.set(weight.name, weight);
    for (const name of [...weight.parts.map((part) => part.name), ...(weight.besides ?? [])]) {
      this.weightOf.set(name, weight);
      this.#remove(name);
    }
  }

  take(...names: readonly string[]): void {
    for (const name of names) {
      this.extras.add(name);
      this.#remove(name);
    }
  }

  problem(name: string, text: string): void {
    this.problems.push({ name, text });
  }

  refuse(scheme: string, why: string, names: readonly string[]): void {
    this.unsupported.push({ scheme, why, names });
    for (const name of names) this.#remove(name);
  }

  #remove(name: string): void {
    const [module, last] = parted(name);
    let tensors = this.#modules.get(module);
    if (!tensors?.has(last)) return;
    if (this.#lent.delete(tensors)) {
      tensors = new Map(tensors);
      this.#modules.set(module, tensors);
    }
    tensors.delete(last);
    if (tensors.size === 0) this.#modules.delete(module);
  }
}

/** Whether there are tensors of integers, or of floats of 8 bits and less. */
function hasCodes(checkpoint: Checkpoint): boolean {
  for (const { dtype } of checkpoint) if (isCode(DTYPES[dtype])) return true;
  return false;
}

function isCode({ kind, bits }: DtypeInfo): boolean {
  return kind === "float" ? bits <= 8 : bits <= 32 && kind !== "bool";
}

function parted(name: string): [module: string, last: string] {
  const dot = name.lastIndexOf(".");
  return dot < 0 ? ["", name] : [name.slice(0, dot), name.slice(dot + 1)];
}
