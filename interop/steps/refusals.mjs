/** The error code for each reason that expected.json gives for refusing a file: of reading it, of converting it. */
const CODES = {
  archive: ["NOT_SAFETENSORS", "INVALID_ARCHIVE"],
  "big-endian": "UNSUPPORTED",
  bounds: "INVALID_TENSOR",
  class: "UNSUPPORTED",
  "compressed by bzip2": "UNSUPPORTED",
  "compressed by xz": "UNSUPPORTED",
  dtype: "UNSUPPORTED",
  global: "FORBIDDEN_GLOBAL",
  key: "INVALID_NAME",
  meta: "UNSUPPORTED",
  name: "INVALID_NAME",
  "no tensors": "TENSOR_NOT_FOUND",
  quantized: "UNSUPPORTED",
  "reserved name": [undefined, "INVALID_NAME"],
  "same name": "AMBIGUOUS",
  "several state dicts": "AMBIGUOUS",
  sparse: "UNSUPPORTED",
  storage: "INVALID_ARCHIVE",
  "too large": [undefined, "LIMIT_EXCEEDED"],
};

/** A reason such as "global:os.system", taken apart: the error codes, and the name of a Python object. */
export function refusal(reason) {
  const [kind, global] = reason.split(":");
  if (!(kind in CODES)) throw new Error(`no error code is known for the reason "${reason}"`);
  const [whenRead, whenConverted] = [CODES[kind]].flat();
  return { whenRead, whenConverted: whenConverted ?? whenRead, global };
}
