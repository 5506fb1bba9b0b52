import type { SafetensorsError } from "../errors.ts";
import { Header } from "./header.ts";
import { HeaderScanner } from "./header-scanner.ts";
import { checkLayout } from "./layout.ts";
import type { ReadMode } from "./mode.ts";

/** Options of `parseHeader`. */
export interface ParseOptions {
  /** How strictly the header is read; `strict` unless said otherwise. */
  readonly mode?: ReadMode | undefined;
}

/**
 * Reads and checks a header.
 *
 * @param json the header's JSON with its padding. It is kept, and must not change.
 * @param dataLength bytes in the file after the header.
 * @throws the first thing that is wrong, unless the mode is `lenient`.
 */
export function parseHeader(json: Uint8Array, dataLength: number, options: ParseOptions = {}): Header {
  return finishHeader(new HeaderScanner(json, options.mode ?? "strict"), dataLength);
}

/** Lets a scanner read its JSON, and checks the layout of what it finds. */
export function finishHeader(scanner: HeaderScanner, dataLength: number): Header {
  const { table, metadata, problems } = scanner;
  // Where the JSON breaks off, the offsets of what was read say nothing.
  const isWhole = scanner.scan();
  const report = (error: SafetensorsError): void => {
    if (isWhole) scanner.report(error);
  };
  let order = table.rows();
  scanner.attempt(() => {
    order = checkLayout(table, dataLength, report);
  });
  return new Header({ table, order, metadata, problems });
}
