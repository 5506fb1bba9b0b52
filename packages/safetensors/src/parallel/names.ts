/** The name of the module that has a tensor: the last part but one. */
export function lastModuleOf(name: string): string {
  return name.split(".").at(-2) ?? "";
}

/** Whether a tensor is a bias: `…q_proj.bias`, `…experts.gate_up_proj_bias`. */
export function isBiasName(name: string): boolean {
  return /(?:^|[._])bias$/.test(name);
}

/**
 * The name with a star for each number between dots, as the patterns of plans have it. Of two such numbers side by
 * side the second stays, as in transformers.
 */
export function genericName(name: string): string {
  return name.replace(/\.\d+(\.|$)/g, ".*$1");
}

/** The same by the rule of transformers before 5.16: a star for each run of digits, those inside words too. */
export function genericNameOfRuns(name: string): string {
  return name.replace(/\d+/g, "*");
}

/** Names that a model with a head puts before those of the model without: `model.layers.0…`, `transformer.h.0…`. */
export const BASE_PREFIXES: readonly string[] = ["model", "transformer", "language_model", "bert"];
