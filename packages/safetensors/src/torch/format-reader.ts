import type { FormatReader } from "../checkpoint/open.ts";
import { openTorch } from "./reader.ts";
import { HEAD_BYTES, looksLikeTorch } from "./recognise.ts";

/** Teaches `open` to read PyTorch files: `open(input, { readers: [torchReader] })`. */
export const torchReader: FormatReader = {
  format: "torch",
  headLength: HEAD_BYTES,
  recognises: looksLikeTorch,
  open: openTorch,
};
