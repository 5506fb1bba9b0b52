import { type Checkpoint, type FileStore, parseJsonFiles, readTextFiles } from "safetensors.js";
import { findQuantized, QUANT_CONFIG_FILES, type Quantization } from "safetensors.js/quant";

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
