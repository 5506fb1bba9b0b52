import type { OpenedFile } from "safetensors.js";
import { type LeftOut, TorchCheckpoint, type TorchReport } from "safetensors.js/torch";

/** What the pickles of one or more PyTorch files asked for, and what was left out. */
export interface PickleSummary {
  readonly opcodes: number;
  /** The Python names, each once. None of them was looked up, imported or called. */
  readonly globals: TorchReport["globals"];
  /** Where the tensors are; "" is the top. */
  readonly container: string;
  readonly leftOut: LeftOut;
  readonly tensorsOutside: LeftOut;
  /** Tensors that are not in the files as they are given: conjugate views, NumPy arrays, … */
  readonly remade: LeftOut;
  /** What the files are: "zip", "legacy", "torchscript", … */
  readonly forms: readonly string[];
}

/** The reports of the files that are PyTorch files. */
export function reportsOf(files: readonly OpenedFile[]): TorchReport[] {
  return files.flatMap(({ checkpoint }) =>
    checkpoint instanceof TorchCheckpoint ? [checkpoint.report] : [],
  );
}

/** The reports of several files as one; nothing if there are none. */
export function summarise(reports: readonly TorchReport[]): PickleSummary | undefined {
  const [first] = reports;
  if (!first) return undefined;
  const globals = new Map<string, TorchReport["globals"][number]>();
  for (const report of reports) {
    for (const global of report.globals) {
      const called = global.called || (globals.get(global.name)?.called ?? false);
      globals.set(global.name, { ...global, called });
    }
  }
  const together = (parts: readonly LeftOut[]): LeftOut => ({
    count: parts.reduce((sum, part) => sum + part.count, 0),
    listed: parts.flatMap((part) => part.listed),
  });
  return {
    opcodes: reports.reduce((sum, report) => sum + report.opcodes, 0),
    globals: [...globals.values()],
    container: first.container,
    leftOut: together(reports.map((report) => report.leftOut)),
    tensorsOutside: together(reports.map((report) => report.tensorsOutside)),
    remade: together(reports.map((report) => report.remade)),
    forms: [...new Set(reports.map((report) => report.form))],
  };
}
