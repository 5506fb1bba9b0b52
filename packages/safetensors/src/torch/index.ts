/** Reads PyTorch checkpoints without running any code from them, and writes them. */
export { type AliasGroups, type AliasOptions, groupAliases } from "../save/aliases.ts";
export type { Compression, Decompress } from "./compression.ts";
export type { TorchContainer } from "./file.ts";
export { torchReader } from "./format-reader.ts";
export { classifyGlobal, type GlobalRole, type KnownGlobal } from "./globals.ts";
export type { SelectOptions, TensorOptions } from "./options.ts";
export {
  openTorch,
  type ReportedGlobal,
  TorchCheckpoint,
  type TorchOptions,
  type TorchReport,
} from "./reader.ts";
export type { LeftOut } from "./select.ts";
export type { Aliases } from "./write/aliases.ts";
export { type WriteTorchOptions, writeTorch } from "./write/write-torch.ts";
