import { quote, SafetensorsError } from "../errors.ts";
import type { PlannedRead } from "./merge.ts";

/**
 * The error of a read, with the first tensor that it was for, the file and the range. Without a name for the tensor,
 * errors that are not of this library stay what they are.
 */
export function explainFailure(error: unknown, read: PlannedRead, tensor: string | undefined): unknown {
  const { units, offset, length } = read;
  const isOurs = error instanceof SafetensorsError;
  if (tensor === undefined || (isOurs && error.details.tensor !== undefined)) return error;
  const file = units.source.name;
  const where = `bytes ${offset} to ${offset + length}${file === undefined ? "" : ` of ${file}`}`;
  const reason = isOurs ? error.reason : error instanceof Error ? error.message : String(error);
  return new SafetensorsError(
    isOurs ? error.code : "IO",
    `${reason} (reading tensor ${quote(tensor)}, ${where})`,
    { at: offset, ...(file !== undefined && { file }), ...(isOurs && error.details), tensor, cause: error },
  );
}
