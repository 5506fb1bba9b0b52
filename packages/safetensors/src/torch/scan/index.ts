/** Finds what could run code in files of models, without running any of it. */
export {
  FINDINGS,
  type Finding,
  type FindingCode,
  type Severity,
  type Verdict,
} from "./finding.ts";
export type { ScannedGlobal, ScanReport } from "./report.ts";
export { type SarifLog, type SarifTool, toSarif } from "./sarif.ts";
export { type ScanOptions, scan } from "./scan.ts";
