import { SafetensorsError } from "../errors.ts";

/** An error of the operating system as one of ours, with the path it happened at. */
export function ioError(path: string, action: string, cause: unknown): SafetensorsError {
  if (cause instanceof SafetensorsError) return cause;
  const reason = cause as NodeJS.ErrnoException;
  if (reason.code === "ENOENT") {
    return new SafetensorsError("NOT_FOUND", `there is no file or folder ${path}`, { file: path, cause });
  }
  return new SafetensorsError("IO", `cannot ${action} ${path}: ${reason.message}`, { file: path, cause });
}
