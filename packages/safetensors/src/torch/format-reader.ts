import type { FormatReader } from "../checkpoint/open.ts";
import { openTorch } from "./reader.ts";
import { looksLikeTorch } from "./recognise.ts";

/** Teaches `open` to read PyTorch files: `open(input, { readers: [torchReader] })`. */
export const torchReader: FormatReader = {
  format: "torch",
  recognises: looksLikeTorch,
  open: openTorch,
};
