/** Whether a file begins with a length below 2^32 and JSON: a safetensors file, whose length may look like anything. */
export function looksLikeSafetensors(head: Uint8Array): boolean {
  const length = head.subarray(4, 8);
  return head[8] === 0x7b && length.every((byte) => byte === 0);
}
