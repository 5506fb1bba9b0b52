import type { Checkpoint } from "../../../checkpoint/checkpoint.ts";
import type { TensorHandle } from "../../../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../../../errors.ts";
import type { ReadOptions } from "../../../source/source.ts";
import { checkStatistics } from "./check-statistics.ts";

/** What a linear layer's inputs were like in calibration. K is their number. */
export interface InputStatistics {
  /** Tokens that were seen. */
  readonly count: number;
  /** `[K, K]`: the sum over all tokens of the products of their inputs, `transposed(X) * X`. */
  readonly xtx: Float32Array;
  /** `[K]`: the mean magnitude. */
  readonly absMean: Float32Array;
  /** `[K]`: the largest magnitude. */
  readonly absMax: Float32Array;
}

/** The key in a file's metadata that says what it is, with the version of the format. */
export const STATISTICS_KEY = "calibration_statistics";
/** The key for modules that share statistics: a JSON object of names. */
export const SAME_INPUT_KEY = "same_input";

const ROLES = ["xtx", "absmean", "absmax", "count"] as const;
type Role = (typeof ROLES)[number];

/**
 * A file of calibration statistics (docs/statistics.md): for each module `<module>.xtx` F32 [K, K], `.absmean` F32 [K],
 * `.absmax` F32 [K] and `.count` I64 [1]. Data is read, and checked, module by module.
 */
export class CalibrationStatistics {
  readonly #tensors: ReadonlyMap<string, ReadonlyMap<Role, TensorHandle>>;
  readonly #owners: ReadonlyMap<string, string>;

  /**
   * @throws `UNSUPPORTED` if the checkpoint is no such file, or of another version; `INVALID_TENSOR` for a tensor that does not
   * belong in it; `TENSOR_NOT_FOUND` for one that is missing
   */
  constructor(checkpoint: Checkpoint) {
    const version = checkpoint.metadata.get(STATISTICS_KEY);
    if (version !== "1") {
      const found = version === undefined ? "there is none" : `it is ${quote(version)}`;
      const text = `calibration statistics have "${STATISTICS_KEY}": "1" in their metadata, and here ${found}`;
      throw new SafetensorsError("UNSUPPORTED", text);
    }
    this.#tensors = tensorsOf(checkpoint);
    this.#owners = ownersOf(checkpoint.metadata.get(SAME_INPUT_KEY), this.#tensors);
  }

  /** The modules that there are statistics for. */
  *modules(): Iterable<string> {
    yield* this.#tensors.keys();
    yield* this.#owners.keys();
  }

  /** The module whose statistics are this one's too: itself, or one that takes the same input; nothing if there are none. */
  owner(module: string): string | undefined {
    return this.#owners.get(module) ?? (this.#tensors.has(module) ? module : undefined);
  }

  /** The number of inputs of a module; nothing if there are no statistics for it. */
  columns(module: string): number | undefined {
    return this.#tensors.get(this.owner(module) ?? module)?.get("xtx")?.shape[0];
  }

  /**
   * Reads the statistics of one module.
   *
   * @throws `TENSOR_NOT_FOUND` if there are none, `INVALID_TENSOR` if they cannot be any inputs' statistics
   */
  async read(module: string, options?: ReadOptions): Promise<InputStatistics> {
    const tensors = this.#tensors.get(this.owner(module) ?? module);
    if (!tensors) {
      const text = `there are no calibration statistics for ${quote(module)}`;
      throw new SafetensorsError("TENSOR_NOT_FOUND", text, { tensor: `${module}.xtx` });
    }
    const floats = (role: Role): Promise<Float32Array> => tensors.get(role)!.toFloat32(options);
    const statistics: InputStatistics = {
      count: Number(((await tensors.get("count")!.data(options)) as BigInt64Array)[0]),
      absMean: await floats("absmean"),
      absMax: await floats("absmax"),
      xtx: await floats("xtx"),
    };
    checkStatistics(this.owner(module)!, statistics);
    return statistics;
  }
}

function tensorsOf(checkpoint: Checkpoint): Map<string, Map<Role, TensorHandle>> {
  const modules = new Map<string, Map<Role, TensorHandle>>();
  for (const tensor of checkpoint) {
    const dot = tensor.name.lastIndexOf(".");
    const role = tensor.name.slice(dot + 1) as Role;
    if (dot < 1 || !ROLES.includes(role)) {
      const text = `${quote(tensor.name)} is no statistic: names are those of modules with .${ROLES.join(", .")}`;
      throw new SafetensorsError("INVALID_TENSOR", text, { tensor: tensor.name });
    }
    const module = tensor.name.slice(0, dot);
    const tensors = modules.get(module) ?? new Map();
    modules.set(module, tensors.set(role, tensor));
  }
  for (const [module, tensors] of modules) checkForms(module, tensors);
  return modules;
}

function checkForms(module: string, tensors: ReadonlyMap<Role, TensorHandle>): void {
  const columns = tensors.get("xtx")?.shape[0] ?? 0;
  for (const role of ROLES) {
    const name = `${module}.${role}`;
    const tensor = tensors.get(role);
    if (!tensor) {
      const text = `the statistics of ${quote(module)} are not complete: ${quote(name)} is missing`;
      throw new SafetensorsError("TENSOR_NOT_FOUND", text, { tensor: name });
    }
    const dtype = role === "count" ? "I64" : "F32";
    const shape = role === "xtx" ? [columns, columns] : role === "count" ? [1] : [columns];
    const isSame =
      tensor.shape.length === shape.length && tensor.shape.every((size, axis) => size === shape[axis]);
    if (tensor.dtype === dtype && isSame && columns > 0) continue;
    const text = `${quote(name)} is ${tensor.dtype} [${tensor.shape}], expected ${dtype} [${role === "count" ? 1 : shape.map(() => (columns > 0 ? columns : "K"))}]`;
    throw new SafetensorsError("INVALID_TENSOR", text, { tensor: name });
  }
}

/** Which module's statistics are those of others too, from the metadata. */
function ownersOf(text: string | undefined, modules: ReadonlyMap<string, unknown>): Map<string, string> {
  const owners = new Map<string, string>();
  if (text === undefined) return owners;
  const problem = (what: string): SafetensorsError =>
    new SafetensorsError("INVALID_TENSOR", `"${SAME_INPUT_KEY}" in the metadata ${what}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw problem("is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw problem("is no JSON object");
  for (const [module, owner] of Object.entries(parsed)) {
    if (typeof owner !== "string" || !modules.has(owner))
      throw problem(`says that ${quote(module)} has the input of a module that there are no statistics for`);
    if (modules.has(module)) throw problem(`names ${quote(module)}, which has statistics of its own`);
    owners.set(module, owner);
  }
  return owners;
}
