/** Parsed JSON objects that describe a model, by the names of their files. */
export type ConfigFiles = Readonly<Record<string, unknown>>;

/** Files beside the weights that say how these are quantised, the most telling first. */
export const QUANT_CONFIG_FILES: readonly string[] = [
  "config.json",
  "quantize_config.json",
  "quant_config.json",
  "hf_quant_config.json",
  "params.json",
  "quanto_qmap.json",
];

/** Fields of an object. */
export type Fields = ReadonlyMap<string, unknown>;

/** What a configuration says of quantisation. */
export interface QuantConfig {
  /** The file and the field that it stands in: `config.json: quantization_config`. */
  readonly place: string;
  /** Fields of that object. */
  readonly fields: Fields;
  /** `quant_method` in small letters, or what the file's name says. */
  readonly method: string | undefined;
  /** Fields of config.json, if there is one. */
  readonly model: Fields;
  /** All files. */
  readonly files: ConfigFiles;
}

/** Where in config.json it stands, in the order of the field's loaders. */
export const CONFIG_PLACES: readonly (readonly string[])[] = [
  ["quantization_config"],
  ["text_config", "quantization_config"],
  ["compression_config"],
  ["quantization"],
];

/** Files that are nothing but the object, and the method that their names stand for. */
const OWN_FILES: ReadonlyMap<string, string | undefined> = new Map([
  ["quantize_config.json", "gptq"],
  ["quant_config.json", "awq"],
  ["hf_quant_config.json", "modelopt"],
]);

/** What the files of a model say of its quantisation; nothing if they say nothing. */
export function quantConfigOf(files: ConfigFiles): QuantConfig | undefined {
  const model = modelFields(files);
  for (const path of CONFIG_PLACES) {
    let fields: Fields | undefined = model;
    for (const key of path) fields = fieldsOf(fields?.get(key));
    if (fields) return configOf(`config.json: ${path.join(".")}`, fields, undefined, model, files);
  }
  for (const [file, method] of OWN_FILES) {
    const fields = fieldsOf(own(files, file));
    if (fields) return configOf(file, fieldsOf(fields.get("quantization")) ?? fields, method, model, files);
  }
  const quantization = fieldsOf(fieldsOf(own(files, "params.json"))?.get("quantization"));
  return quantization && configOf("params.json: quantization", quantization, "mistral", model, files);
}

/** The fields of config.json; none if there is no such file. */
export function modelFields(files: ConfigFiles): Fields {
  return fieldsOf(own(files, "config.json")) ?? new Map<string, unknown>();
}

/** The fields of an object in parsed JSON; nothing for anything else. */
export function fieldsOf(value: unknown): Fields | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return new Map(Object.entries(value));
}

function configOf(
  place: string,
  fields: Fields,
  usual: string | undefined,
  model: Fields,
  files: ConfigFiles,
): QuantConfig {
  const said = fields.get("quant_method") ?? fields.get("method");
  const method = typeof said === "string" ? said.toLowerCase() : usual;
  return { place, fields, method, model, files };
}

function own(files: ConfigFiles, name: string): unknown {
  return Object.hasOwn(files, name) ? files[name] : undefined;
}
