import { test } from "node:test";
import { concat } from "../../support.ts";
import { buildZip } from "../../zip/zip-builder.ts";
import { checkRow, type Row } from "./scanned.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const stored = (data: Uint8Array): Uint8Array => buildZip([{ name: "config.json", data }]);
const config = (value: object): Uint8Array => stored(utf8(JSON.stringify(value)));
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

/** Bytes of a character each, in the order that `place` says. */
const wide = (text: string, width: number, place: number): Uint8Array => {
  const bytes = new Uint8Array(text.length * width);
  utf8(text).forEach((byte, index) => {
    bytes[index * width + place] = byte;
  });
  return bytes;
};
const LAMBDA = '{"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {}}}}';
const DENSE = '"class_name": "Dense", "module": "keras.layers"';
const of = (config: object, name = "Lambda"): object => ({
  class_name: name,
  module: "keras.layers",
  config,
});

const FORMS: readonly Row[] = [
  [
    "numbers that only Python has",
    stored(utf8(`{${DENSE}, "config": {"a": NaN, "b": [Infinity,-Infinity], "c": "NaN, \\"Infinity"}}`)),
    "clean",
  ],
  [
    "a function among such numbers",
    stored(utf8(`[NaN, "NaN\\"", -Infinity, ${LAMBDA}]`)),
    "dangerous",
    "keras-lambda",
  ],
  [
    "a function in what could be the index of a checkpoint",
    utf8(`{"weight_map": {}, "layers": [${LAMBDA}]}`),
    "dangerous",
    "keras-lambda",
  ],
  [
    "a function in one of two configurations",
    buildZip([
      { name: "config.json", data: utf8(`{${DENSE}}`) },
      { name: "config.json", data: utf8(LAMBDA) },
    ]),
    "dangerous",
    "keras-lambda",
    "ambiguous-archive",
  ],
  ["such numbers in a file of JSON", utf8(`{"a": NaN, "b": ${LAMBDA}}`), "dangerous", "keras-lambda"],
  ...(
    [
      ['"0  "', '"NaN"'],
      ['"\\u00220  "', '"\\"NaN"'],
    ] as const
  ).map(
    ([first, second]): Row => [
      `a text that is none of these numbers: ${second}`,
      stored(utf8(`{${first}: ${LAMBDA}, ${second}: 1}`)),
      "dangerous",
      "keras-lambda",
    ],
  ),
  [
    "numbers that nobody has",
    stored(utf8(`{${DENSE}, "config": {"a": Nan}}`)),
    "incomplete",
    "malformed-file",
  ],
  ["a mark of UTF-8", stored(utf8(`\ufeff{${DENSE}}`)), "clean"],
  ["the last of equal keys", stored(utf8(`{"a": 1, "a": ${LAMBDA}}`)), "dangerous", "keras-lambda"],
  ...(
    [
      [2, 0],
      [2, 1],
      [4, 0],
      [4, 3],
    ] as const
  ).map(
    ([width, place]): Row => [
      `characters of ${width} bytes, ${place}`,
      stored(wide(LAMBDA, width, place)),
      "dangerous",
      "keras-lambda",
      "malformed-file",
    ],
  ),
  ["harmless text in UTF-16", stored(wide(`{${DENSE}}`, 2, 0)), "incomplete", "malformed-file"],
  [
    "two keys that are the same when their halves of pairs are replaced",
    stored(
      concat([
        utf8('{"'),
        Uint8Array.of(0xed, 0xa0, 0x80),
        utf8(`": ${LAMBDA.replace("Lambda", "\\u004cambda")}, "`),
        Uint8Array.of(0xed, 0xa0, 0x81),
        utf8('": 1}'),
      ]),
    ),
    "dangerous",
    "keras-lambda",
    "malformed-file",
  ],
  [
    "a module in a broken text",
    stored(utf8('{"module": "os", "class_name": "function", "config": "system"')),
    "dangerous",
    "keras-module",
  ],
  [
    "a function of Keras 2",
    config(of({ function: ["4wAA", null, null], function_type: "function" })),
    "dangerous",
    "keras-lambda",
  ],
  ["a kind of function", config(of({ function_type: "lambda" })), "dangerous", "keras-lambda"],
  ["a kind of shape", config(of({ output_shape_type: "lambda" })), "dangerous", "keras-lambda"],
  [
    "a Lambda layer with a package before its name",
    config({ ...of({}, "Nothing"), registered_name: "keras>Lambda" }),
    "incomplete",
    "keras-custom",
  ],
  [
    "a module that is imported for a name that is in none",
    config({ class_name: "function", module: "company", config: "a>b", registered_name: "a>b" }),
    "incomplete",
    "keras-custom",
  ],
  [
    "a module that is imported for a class that is in none",
    config({ class_name: "a>b", module: "company", config: {}, registered_name: "a>b" }),
    "incomplete",
    "keras-custom",
  ],
  [
    "a module that is imported for no name",
    config({ class_name: 1, module: "company", config: {} }),
    "incomplete",
    "keras-custom",
  ],
  [
    "a registered function",
    config({
      class_name: "function",
      module: "builtins",
      config: "my>act",
      registered_name: "function",
    }),
    "clean",
  ],
  ...["math.multiply", "reshape", "__operators__.add", "nn.relu"].map(
    (name): Row => [`the operation ${name}`, config(of({ function: name }, "TFOpLambda")), "clean"],
  ),
  ...["io.write_file", "raw_ops.WriteFile", "load_op_library", "py_function", "compat.v1.write_file"].map(
    (name): Row => [
      `the operation ${name}`,
      config(of({ function: name }, "TFOpLambda")),
      "incomplete",
      "keras-custom",
    ],
  ),
];

const HDF5 = concat([Uint8Array.of(0x89), utf8("HDF\r\n\x1a\n"), new Uint8Array(20)]);

const TEXTS: readonly Row[] = [
  ["a Lambda layer", concat([HDF5, utf8(LAMBDA)]), "dangerous", "keras-lambda", "not-understood"],
  [
    "a module",
    concat([HDF5, utf8('{"module": "os", "class_name": "function", "config": "system"}')]),
    "dangerous",
    "keras-module",
  ],
  ["a layer that loads", concat([HDF5, utf8('{"class_name": "TFSMLayer"}')]), "incomplete", "keras-custom"],
];

for (const row of ROWS) test(`Keras names: ${row[0]}`, () => checkRow(row));
for (const row of FORMS) test(`Keras configurations: ${row[0]}`, () => checkRow(row));
for (const row of TEXTS) test(`Keras in HDF5: ${row[0]}`, () => checkRow(row));
