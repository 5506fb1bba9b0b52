import { quote, SafetensorsError } from "../errors.ts";
import { problem } from "./problem.ts";

/** The content of a model's config.json. */
export type ModelConfig = Readonly<Record<string, unknown>>;

/** Reads fields of a configuration; those of its `text_config` count where it has one. Errors name the field. */
export class ConfigReader {
  readonly modelType: string;
  readonly #parts: readonly ModelConfig[];

  constructor(config: ModelConfig) {
    const text = own(config, "text_config");
    const isNested = typeof text === "object" && text !== null;
    this.#parts = isNested ? [text as ModelConfig, config] : [config];
    const type = this.#find(["model_type"]);
    if (typeof type !== "string") throw problem(`the configuration has no "model_type"`);
    this.modelType = type;
  }

  /** A positive integer by the first of these names that is there, if one is. */
  optional(...names: readonly string[]): number | undefined {
    const value = this.#find(names);
    if (value === undefined) return undefined;
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    const shown = quote(JSON.stringify(value) ?? String(value));
    throw problem(`"${names.join('" or "')}" of the configuration is ${shown}, which is no positive integer`);
  }

  /** The same where it has to be there. */
  required(...names: readonly string[]): number {
    const value = this.optional(...names);
    if (value !== undefined) return value;
    throw problem(`the configuration of this ${quote(this.modelType)} has no "${names.join('" or "')}"`);
  }

  /** How the weights are quantised, as the configuration calls it. */
  get quantMethod(): unknown {
    const quantization = this.#find(["quantization_config"]);
    return typeof quantization === "object" ? own(quantization as ModelConfig, "quant_method") : undefined;
  }

  /** Whether a field is there, be it null. */
  has(name: string): boolean {
    return this.#parts.some((part) => own(part, name) !== undefined);
  }

  /** Whether a field is true, if it is there. */
  flag(name: string): boolean | undefined {
    const value = this.#find([name]);
    return value === undefined ? undefined : value === true;
  }

  #find(names: readonly string[]): unknown {
    for (const part of this.#parts) {
      for (const name of names) {
        const value = own(part, name);
        if (value !== undefined && value !== null) return value;
      }
    }
    return undefined;
  }
}

/** An error for a kind of model that no plan is known for. */
export function unknownModel(type: string, known: Iterable<string>): SafetensorsError {
  const text = `no plan is known for the model type ${quote(type)}; give one (known are ${[...known].join(", ")})`;
  return new SafetensorsError("UNSUPPORTED", text);
}

/** What models with a different number of experts call it. */
export const EXPERT_COUNTS = ["num_local_experts", "num_experts", "n_routed_experts"] as const;

function own(config: ModelConfig, name: string): unknown {
  return Object.hasOwn(config, name) ? config[name] : undefined;
}
