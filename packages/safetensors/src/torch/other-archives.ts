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
 * Such a record, or one that brings code along beside the `data.pkl` of torch.save: of TorchScript, and that for mobile
 * devices.
 */
const CODE_RECORD = new RegExp(
  `(?<=^|/)(?:${[...OTHER_ARCHIVES.keys(), "constants.pkl", "bytecode.pkl"]
    .map((record) => record.replaceAll(".", "\\."))
    .join("|")})$`,
  "i",
);

/** PyTorch opens no archive that does not say its version, in one of these records. */
const VERSIONS = [/(?<=^|\/)version$/i, /(?<=^|\/)\.data\/version$/i];

/**
 * The member that tells an archive from which PyTorch loads code, if there is one. PyTorch takes the folder of the first
 * member for that of all records, other programs may take another one; it looks for names without regard to case.
 */
export function codeRecord(names: readonly string[]): string | undefined {
  const folders = new Set<string>();
  for (const name of names) {
    for (const version of VERSIONS)
      if (version.test(name)) folders.add(name.replace(version, "").toLowerCase());
  }
  if (folders.size === 0) return undefined;
  return names.find(
    (name) => CODE_RECORD.test(name) && folders.has(name.replace(CODE_RECORD, "").toLowerCase()),
  );
}

/** Throws `UNSUPPORTED` for an archive of PyTorch without a `data.pkl`, if it is of a known kind. */
export function refuseOtherArchives(has: (record: string) => boolean): void {
  for (const [record, [kind, description]] of OTHER_ARCHIVES) {
    if (has(record)) throw new SafetensorsError("UNSUPPORTED", `this is ${description}`, { kind: kind! });
  }
}
