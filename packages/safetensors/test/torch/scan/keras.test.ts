import { test } from "node:test";
import { buildZip } from "../../zip/zip-builder.ts";
import { checkRow, type Row } from "./scanned.ts";

const config = (value: object): Uint8Array =>
  buildZip([{ name: "config.json", data: new TextEncoder().encode(JSON.stringify(value)) }]);
const layer = (module: string, name: string, more: object = {}): Uint8Array =>
  config({ layers: [{ module, class_name: name, config: {}, registered_name: null, ...more }] });

const ROWS: readonly Row[] = [
  ...[
    ["keras.layers", "Dense"],
    ["keras.src.models.functional", "Functional"],
    ["keras_hub.layers", "TokenEmbedding"],
    ["keras_nlp.models", "BertBackbone"],
    ["tf_keras.layers", "Dense"],
    ["tensorflow.keras.layers", "Dense"],
    ["keras.ops", "add"],
    ["builtins", "tuple"],
  ].map(([module, name]): Row => [`${module}.${name}`, layer(module!, name!), "clean"]),
  ...[
    ["keras.utils", "get_file"],
    ["keras.src.utils.file_utils", "get_file"],
    ["keras.config", "enable_unsafe_deserialization"],
    ["keras.models", "load_model"],
    ["keras_evil", "run"],
    ["keras_evil", "Run"],
    ["builtins", "print"],
    ["company", "Thing"],
  ].map(([module, name]): Row => [`${module}.${name}`, layer(module!, name!), "incomplete", "keras-custom"]),
  ...[
    ["builtins", "exec"],
    ["os", "system"],
  ].map(([module, name]): Row => [`${module}.${name}`, layer(module!, name!), "dangerous", "keras-module"]),
  [
    "a registered name that is a function",
    layer("keras.utils", "Nothing", { registered_name: "get_file" }),
    "incomplete",
    "keras-custom",
  ],
  [
    "a registered name that is a Lambda layer",
    layer("keras.layers", "Nothing", { registered_name: "Lambda" }),
    "incomplete",
    "keras-custom",
  ],
  [
    "the name of a registered class",
    layer("keras_hub.src.layers", "TokenEmbedding", { registered_name: "keras_hub>TokenEmbedding" }),
    "clean",
  ],
  [
    "a function registered under another name",
    layer("builtins", "function", { config: "nothing", registered_name: "exec" }),
    "dangerous",
    "keras-module",
  ],
];

for (const row of ROWS) test(`Keras names: ${row[0]}`, () => checkRow(row));
