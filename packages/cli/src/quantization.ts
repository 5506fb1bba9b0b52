import {
  type Checkpoint,
  type FileStore,
  type OpenedFiles,
  parseJsonFiles,
  readTextFiles,
  SafetensorsError,
} from "safetensors.js";
import { findQuantized, QUANT_CONFIG_FILES, type Quantization } from "safetensors.js/quant";
import { plural } from "./output/numbers.ts";
import { nameText } from "./output/text.ts";

/** What is known of quantisation in a checkpoint, and the texts of the configurations beside it. */
export interface FoundQuantization {
  readonly quantization: Quantization;
  readonly texts: ReadonlyMap<string, string>;
}

/** Finds the quantised weights of a checkpoint, with the configuration that lies beside it. */
export async function quantizationOf(
  checkpoint: Checkpoint,
  store: FileStore,
  signal?: AbortSignal,
): Promise<FoundQuantization> {
  const texts = await readTextFiles(store, QUANT_CONFIG_FILES, { signal });
  const quantization = await findQuantized(checkpoint, { configs: parseJsonFiles(texts), signal });
  return { quantization, texts };
}

/** What does not fit together, as errors. */
function quantProblems({ problems }: Quantization): SafetensorsError[] {
  return problems.map(({ name, text }) => {
    return new SafetensorsError("INVALID_QUANTIZATION", `${nameText(name)}: ${text}`, { tensor: name });
  });
}

/** What does not fit together in an input. One file of several may lack parts that another one has: nothing is said of it. */
export function quantProblemsIn(
  { files, index }: Pick<OpenedFiles, "files" | "index">,
  quantization: Quantization,
): SafetensorsError[] {
  const isOneOfSeveral = !index && files.length === 1 && /-\d{5,6}-of-\d{5,6}\./.test(files[0]!.file);
  return isOneOfSeveral ? [] : quantProblems(quantization);
}

/**
 * Throws unless all quantised weights are understood: what is not would stay as it is, without a word, and mean nothing.
 *
 * @throws `UNSUPPORTED` for a layout that is not taken apart, `INVALID_QUANTIZATION` for what does not fit together
 */
export function checkUnderstood(quantization: Quantization): void {
  const [refused] = quantization.unsupported;
  if (refused) {
    const { scheme, names, why } = refused;
    const more = names.length > 1 ? ` and ${plural(names.length - 1, "more tensor")}` : "";
    const text = `${nameText(names[0] ?? "")}${more} in the layout ${scheme}: ${why}`;
    throw new SafetensorsError("UNSUPPORTED", text, { tensor: names[0] ?? "" });
  }
  const [problem, ...others] = quantProblems(quantization);
  if (!problem) return;
  const more =
    others.length > 0 ? ` (and ${plural(others.length, "more problem")}: see \`safetensors check\`)` : "";
  throw new SafetensorsError(problem.code, `${problem.reason}${more}`, problem.details);
}
