import { SafetensorsError } from "../../errors.ts";
import { observed } from "../../source/observed.ts";
import type { ByteSource, ReadOptions } from "../../source/source.ts";
import { scanPart } from "./content.ts";
import { Scan } from "./part.ts";
import { ReportBuilder, type ScanReport } from "./report.ts";

/** Options of `scan`. */
export interface ScanOptions extends ReadOptions {
  /** What to call the file in the report; the name of the source unless said otherwise. */
  readonly file?: string | undefined;
}

/**
 * Looks for everything in a file of a model that could run code when somebody loads it: in PyTorch files of all kinds,
 * pickles, joblib, NumPy, Keras and archives of these. Nothing in the file is run, and its name plays no part. The
 * source stays open.
 *
 * Tensor data is not read, but for the first bytes of each storage in a ZIP archive, and more where these could be a
 * pickle: `torch.load(pickle_file=…)` can be told to load any member. Not seen are pickles that begin within a storage,
 * which are read only where another file leads there (the `.metadata` of torch.distributed.checkpoint gives places in its
 * `.distcp` files), and those in the storages of tar archives and of the format before PyTorch 1.6.
 *
 * A file that cannot be read or understood is no error: its verdict is `incomplete`. Only the signal's reason is thrown.
 */
export async function scan(source: ByteSource, options: ScanOptions = {}): Promise<ScanReport> {
  const traffic = { requests: 0, bytes: 0 };
  const { signal, file = source.name ?? "" } = options;
  const report = new ReportBuilder(file, traffic);
  const whole = { member: [], base: 0 };
  try {
    const run = new Scan(report, { signal }, scanPart);
    await scanPart(run, { source: observed(source, traffic), where: whole, archives: 0, pickles: 0 });
  } catch (error) {
    signal?.throwIfAborted();
    // A defect of the scanner must not let a file pass either.
    const reason = error instanceof SafetensorsError ? error.reason : String(error);
    report.add(whole, ["unreadable", `could not be scanned to its end: ${reason}`]);
  }
  return report.build();
}
