import { SafetensorsError } from "../errors.ts";

const EXPORTED = [
  "torch-export",
  "an exported program (.pt2): load it with torch.export and save its state_dict",
];

/** Archives of PyTorch that hold no pickle of torch.save: the record that tells each, its kind, what it is and what to do. */
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

/** Throws `UNSUPPORTED` for an archive of PyTorch without a `data.pkl`, if it is of a known kind. */
export function refuseOtherArchives(has: (record: string) => boolean): void {
  for (const [record, [kind, description]] of OTHER_ARCHIVES) {
    if (has(record)) throw new SafetensorsError("UNSUPPORTED", `this is ${description}`, { kind: kind! });
  }
}
