import type { FormatReader } from "../checkpoint/open.ts";
import { isNpy } from "./header.ts";
import { MEMBER_ENDING } from "./npz.ts";
import { openNumpy } from "./reader.ts";

/** Teaches `open` to read NumPy files, `.npy` and `.npz`: `open(input, { readers: [numpyReader] })`. */
export const numpyReader: FormatReader = {
  format: "numpy",
  recognises: (head) => isNpy(head) || firstMember(head).endsWith(MEMBER_ENDING),
  open: (source, { signal, head }) => openNumpy(source, { signal, head }),
};

/** The name of the first member of a ZIP archive; "" if the file is none. */
function firstMember(head: Uint8Array): string {
  if (head.length < 30 || String.fromCharCode(...head.subarray(0, 4)) !== "PK\x03\x04") return "";
  const length = head[26]! + head[27]! * 256;
  // Only the end matters, and that is ASCII.
  return head.length < 30 + length ? "" : new TextDecoder().decode(head.subarray(30, 30 + length));
}
