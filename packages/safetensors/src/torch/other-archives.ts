import { SafetensorsError } from "../errors.ts";

const EXPORTED = [
  "torch-export",
  "an exported program (.pt2): load it with torch.export and save its state_dict",
];

/**
 * Archives of PyTorch that hold no pickle of torch.save: the record that tells each, its kind, what it is and what to do.
 * Loading any of them runs code that is in it.
 */
const OTHER_ARCHIVES = new Map([
  [
    ".data/extern_modules",
    ["torch-package", "a package of torch.package: load the model and save its state_dict()"],
  ],
  ["archive_format", EXPORTED],
  ["serialized_exported_program.json", EXPORTED],
  [
    "model.json",
    ["torchscript", "a TorchScript archive of PyTorch 1.3 or older: save it again with a newer one"],
  ],
]);

/**
 * Such a record, or one that brings code along beside the `data.pkl` of torch.save: of TorchScript, that for mobile
 * devices, and the graphs of torch.export.
 */
const CODE_RECORD = new RegExp(
  `(?:^|/)(?:${[
    ...[...OTHER_ARCHIVES.keys(), "constants.pkl", "bytecode.pkl"].map((record) =>
      record.replaceAll(".", "\\."),
    ),
    String.raw`models/[\s\S]+\.json`,
  ].join("|")})$`,
  "i",
);

/** PyTorch opens no archive that does not say its version. */
const VERSION = /(?:^|\/)version$/i;

/**
 * The member that tells an archive from which PyTorch loads code, if there is one. PyTorch takes the folder of the first
 * member for that of all records, other programs may take another one; it looks for names without regard to case.
 */
export function codeRecord(names: readonly string[]): string | undefined {
  const found = names.find((name) => CODE_RECORD.test(name));
  return found !== undefined && names.some((name) => VERSION.test(name)) ? found : undefined;
}

/** Throws `UNSUPPORTED` for an archive of PyTorch without a `data.pkl`, if it is of a known kind. */
export function refuseOtherArchives(has: (record: string) => boolean): void {
  for (const [record, [kind, description]] of OTHER_ARCHIVES) {
    if (has(record)) throw new SafetensorsError("UNSUPPORTED", `this is ${description}`, { kind: kind! });
  }
}
