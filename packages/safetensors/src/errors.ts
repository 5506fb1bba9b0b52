/**
 * What went wrong, as a word a program can match. A code never changes its meaning; new ones may be added.
 *
 * - Header (spec: "Format"): `HEADER_TOO_SMALL`, `HEADER_TOO_LARGE`, `INVALID_HEADER_LENGTH`, `INVALID_UTF8`,
 *   `INVALID_JSON` (not JSON at all), `INVALID_HEADER` (JSON, but not a header; NumPy headers too), `UNKNOWN_DTYPE`, `DUPLICATE_NAME`,
 *   `DUPLICATE_KEY`, `UNSAFE_INTEGER` (above 2^53 - 1).
 * - Layout: `INVALID_OFFSETS` (overlap, hole or reversed range), `SIZE_OVERFLOW`, `MISALIGNED` (bits that do not
 *   fill a byte), `SIZE_MISMATCH`, `TRUNCATED`, `TRAILING_BYTES`.
 * - Input as a whole: `NOT_SAFETENSORS` (with `kind`: what it is instead), `UNSUPPORTED`, `NOT_FOUND`, `IO`,
 *   `SHORT_READ`, `SOURCE_CHANGED`, `OUT_OF_RANGE`, `CLOSED`.
 * - Checkpoints of several files: `INVALID_INDEX`, `UNSAFE_FILE_NAME`, `INDEX_MISMATCH`, `AMBIGUOUS`.
 * - Asking: `TENSOR_NOT_FOUND`, `INVALID_SLICE`.
 * - PyTorch: `INVALID_ARCHIVE`, `INVALID_PICKLE`, `FORBIDDEN_GLOBAL`, `INVALID_TENSOR`.
 * - Quantised weights: `INVALID_QUANTIZATION` (parts or configuration that do not fit together).
 * - Transforms: `INVALID_RECIPE`. Manifests: `INVALID_MANIFEST`, `DIGEST_MISMATCH`.
 * - Writing: `INVALID_NAME`, `SIZE_MISMATCH`, `WRONG_ORDER`, `IO`.
 * - `LIMIT_EXCEEDED` (with `limit`: which one, see limits.ts).
 */
export type ErrorCode =
  | "HEADER_TOO_SMALL"
  | "HEADER_TOO_LARGE"
  | "INVALID_HEADER_LENGTH"
  | "INVALID_UTF8"
  | "INVALID_JSON"
  | "INVALID_HEADER"
  | "UNKNOWN_DTYPE"
  | "DUPLICATE_NAME"
  | "DUPLICATE_KEY"
  | "UNSAFE_INTEGER"
  | "INVALID_OFFSETS"
  | "SIZE_OVERFLOW"
  | "MISALIGNED"
  | "SIZE_MISMATCH"
  | "TRUNCATED"
  | "TRAILING_BYTES"
  | "NOT_SAFETENSORS"
  | "UNSUPPORTED"
  | "NOT_FOUND"
  | "IO"
  | "SHORT_READ"
  | "SOURCE_CHANGED"
  | "OUT_OF_RANGE"
  | "CLOSED"
  | "INVALID_INDEX"
  | "UNSAFE_FILE_NAME"
  | "INDEX_MISMATCH"
  | "AMBIGUOUS"
  | "TENSOR_NOT_FOUND"
  | "INVALID_SLICE"
  | "INVALID_ARCHIVE"
  | "INVALID_PICKLE"
  | "FORBIDDEN_GLOBAL"
  | "INVALID_TENSOR"
  | "INVALID_QUANTIZATION"
  | "INVALID_RECIPE"
  | "INVALID_MANIFEST"
  | "DIGEST_MISMATCH"
  | "INVALID_NAME"
  | "WRONG_ORDER"
  | "LIMIT_EXCEEDED";

/** Where it went wrong, as far as it is known. */
export interface ErrorDetails {
  /** Name of the tensor concerned. */
  readonly tensor?: string;
  /** Name of the file concerned. */
  readonly file?: string;
  /** Byte offset: in the header for header errors, in the source for reads, in the pickle for pickle errors. */
  readonly at?: number;
  /** Name of the limit that was hit (limits.ts). */
  readonly limit?: string;
  /**
   * For `NOT_SAFETENSORS` and `UNSUPPORTED`: what the input is, see `diagnose`. For `IO`: "refused" by a server (401, 403).
   * For `INVALID_PICKLE`: "cut" where an opcode wants more bytes than are left, "fatal" where no reader of Python could go on.
   */
  readonly kind?: string;
  /** For `FORBIDDEN_GLOBAL`: the Python name that the file asked for, as `module.name`. */
  readonly global?: string;
  /** For `AMBIGUOUS` places of tensors in a PyTorch file: their keys, at most 20, and last that of what holds them all. */
  readonly keys?: readonly string[];
  readonly cause?: unknown;
}

/** The one error class of the library: a `code` to match, a message for people, fields for tools. */
export class SafetensorsError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(`${code}: ${message}`, "cause" in details ? { cause: details.cause } : undefined);
    this.name = "SafetensorsError";
    this.code = code;
    this.details = details;
  }

  /** The message without its code. */
  get reason(): string {
    return this.message.slice(this.code.length + 2);
  }

  /** The same error with the file it happened in; an error that names a file already stays as it is. */
  inFile(file: string): SafetensorsError {
    if (this.details.file !== undefined) return this;
    return new SafetensorsError(this.code, `${file}: ${this.reason}`, {
      ...this.details,
      file,
      cause: this.cause ?? this,
    });
  }
}

/** Runs `action`; a SafetensorsError out of it gets the name of the file. */
export async function inFile<T>(file: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof SafetensorsError ? error.inFile(file) : error;
  }
}

/** A name as it may be shown to a person: quoted, control and direction characters escaped, cut at 200 characters. */
export function quote(name: string): string {
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  return JSON.stringify(shown).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
