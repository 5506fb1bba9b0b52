import { quote } from "../../errors.ts";
import type { Finder, ModuleTensors, Scheme } from "../scheme.ts";
import type { QuantizedWeight } from "../weight.ts";
import { fastWeight } from "./awq-fast.ts";
import { gemmWeight } from "./awq-gemm.ts";
import { gemvWeight } from "./awq-gemv.ts";
import { type GptqConfig, gptqConfigOf, schemeOf, settingsOf } from "./gptq-config.ts";
import { type Layout, layoutOf, unfit } from "./gptq-layout.ts";

/** Names of layouts in configurations. */
const VERSIONS: ReadonlyMap<string, Layout> = new Map([
  ["gemm", "awq gemm"],
  ["exllama", "awq gemm"],
  ["ipex", "awq gemm"],
  ["gemv", "awq gemv"],
  ["gemv_fast", "awq gemv_fast"],
  ["llm-awq", "awq gemv_fast"],
]);

/** What the tensors of one module are; a text if something does not fit. */
export type AwqReader = (
  module: string,
  tensors: ModuleTensors,
  config: GptqConfig,
) => QuantizedWeight | string;

const READERS: ReadonlyMap<string, AwqReader> = new Map([
  ["awq gemm", gemmWeight],
  ["awq gemv", gemvWeight],
  ["awq gemv_fast", fastWeight],
]);

/**
 * AWQ, as AutoAWQ, llm-awq, GPTQModel and AutoRound write it: codes of 4 bits in three layouts, which shapes tell apart.
 * Its weights are scaled by columns, and what comes before them the other way: they are not those of the model before.
 */
export const AWQ: Scheme = {
  name: "awq",
  claims: (config) => schemeOf(config) === "awq",
  find(finder) {
    const config = gptqConfigOf(finder, () => undefined);
    const { scheme, format, place } = config;
    // GPTQ tells of what it does not know.
    if (scheme === "gptq") return;
    const expected = format === undefined ? undefined : VERSIONS.get(format);
    if (scheme && format !== undefined && !expected) return refuse(finder, format);
    for (const [module, tensors] of finder.modules()) {
      if (!tensors.has("qweight")) continue;
      const layout = layoutOf(tensors);
      const read = READERS.get(layout ?? "");
      if (scheme && (!read || (expected && layout !== expected)))
        finder.problem(
          module,
          `${place} says AWQ${format ? ` (${format})` : ""}, but ${unfit(tensors, layout)}`,
        );
      else if (read) {
        const weight = read(module, tensors, moduleConfig(config, module));
        if (typeof weight === "string") finder.problem(module, weight);
        else finder.add(weight);
      }
    }
  },
};

/** The configuration with the settings of a module. */
function moduleConfig(config: GptqConfig, module: string): GptqConfig {
  const settings = settingsOf(config, module, () => undefined);
  return settings === "skip" ? config : { ...config, settings };
}

function refuse(finder: Finder, format: string): void {
  const names: string[] = [];
  for (const [, tensors] of finder.modules()) {
    if (!tensors.has("qweight")) continue;
    for (const role of ["qweight", "qzeros", "scales"]) {
      const tensor = tensors.get(role);
      if (tensor) names.push(tensor.name);
    }
  }
  const why = format === "marlin" ? "codes and scales are permuted for the Marlin kernel" : "it is not known";
  finder.refuse("awq", `the layout ${quote(format)} is not read: ${why}`, names);
}
