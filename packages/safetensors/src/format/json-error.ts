import { SafetensorsError } from "../errors.ts";

/** Whether an error says that a text is no JSON, or not the JSON that was asked for: see `JsonCursor`. */
export function isJsonError(error: unknown): error is SafetensorsError {
  return error instanceof SafetensorsError && /JSON|HEADER|UTF8/.test(error.code);
}
