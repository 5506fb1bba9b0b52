import type { FloatDtype } from "../dtype/cast.ts";
import { CONFIG_PLACES } from "./config.ts";
import { withMember } from "./json-text.ts";
import { torchName } from "./torch-floats.ts";

/** Files that are about quantisation only: a dense checkpoint has none of them. */
export const QUANT_ONLY_FILES: readonly string[] = [
  "quantize_config.json",
  "quant_config.json",
  "hf_quant_config.json",
  "quanto_qmap.json",
];

/**
 * The text of a config.json for the same model without quantisation, with the dtype it has then, if that is one for all.
 * All else stays as it is, character by character.
 *
 * @throws `INVALID_JSON`
 */
export function denseConfig(text: string, dtype?: FloatDtype): string {
  let result = text;
  for (const path of CONFIG_PLACES) result = withMember(result, path, undefined);
  const name = dtype && torchName(dtype);
  if (name === undefined) return result;
  const config = JSON.parse(result) as object;
  for (const path of dtypePlaces(config)) result = withMember(result, path, JSON.stringify(name));
  return result;
}

/**
 * The text of a config.json for the same model quantised.
 *
 * @throws `INVALID_JSON`
 */
export function withQuantizationConfig(text: string, quantization: object): string {
  return withMember(denseConfig(text), ["quantization_config"], indented(quantization));
}

/** `torch_dtype`, or as newer versions of transformers have it, `dtype`; of the model and of its text part. */
function dtypePlaces(config: object): string[][] {
  const keys = ["torch_dtype", "dtype"];
  const inside: unknown = Object.hasOwn(config, "text_config") && Object(config).text_config;
  const isThere = (part: unknown, key: string): boolean =>
    typeof part === "object" && part !== null && Object.hasOwn(part, key);
  return [
    ...keys.filter((key) => isThere(config, key)).map((key) => [key]),
    ...keys.filter((key) => isThere(inside, key)).map((key) => ["text_config", key]),
  ];
}

/** As transformers writes it: two spaces deeper than the object it stands in. */
function indented(value: object): string {
  return JSON.stringify(value, null, 2).replaceAll("\n", "\n  ");
}
