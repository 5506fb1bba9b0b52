import { CanonicalScanner } from "./canonical-scanner.ts";
import { Header } from "./header.ts";
import { checkLayout } from "./layout.ts";
import { TensorTable } from "./tensor-table.ts";

const SPACE = 0x20;
const QUOTE = 0x22;
const CLOSE_BRACE = 0x7d;

const utf8 = new TextDecoder();

const METADATA = '{"__metadata__":{';

/**
 * Reads a header in just the form in which the reference writes it, all ASCII and without escapes, as nearly all are.
 * Of any other it makes nothing: `parseHeader` reads those, and says what is wrong with them if anything is. So a web
 * page need not load that for an ordinary file.
 *
 * @throws what `checkLayout` throws: the offsets of such a header are wrong whoever reads it
 */
export function readCanonicalHeader(json: Uint8Array, dataLength: number): Header | undefined {
  const table = new TensorTable(json);
  const metadata = new Map<string, string>();
  let at = 1;
  if (textAt(json, 0, METADATA.length) === METADATA) at = readMetadata(json, METADATA.length, metadata);
  else if (textAt(json, 0, 1) !== "{") return undefined;
  if (at < 0) return undefined;
  let end = new CanonicalScanner(table).scan(at, at === 1);
  if (json[end++] !== CLOSE_BRACE) return undefined;
  while (json[end] === SPACE) end++;
  if (end !== json.length) return undefined;
  let hasDuplicates = false;
  const { ascii, controlAt } = table.indexNames(() => {
    hasDuplicates = true;
  });
  if (hasDuplicates || !ascii || controlAt >= 0) return undefined;
  const order = checkLayout(table, dataLength, (error) => {
    throw error;
  });
  return new Header({ table, order, metadata });
}

/** Reads `"key":"value",…}` from `at` on; returns the place behind it, or -1 if it deviates. */
function readMetadata(json: Uint8Array, at: number, metadata: Map<string, string>): number {
  if (json[at] === CLOSE_BRACE) return at + 1;
  for (let next = at; ; ) {
    const keyEnd = json.indexOf(QUOTE, next + 1);
    const valueEnd = json.indexOf(QUOTE, keyEnd + 3);
    if (keyEnd < 0 || valueEnd < 0) return -1;
    const pair = /^"([ -!#-[\]-~]*)":"([ -!#-[\]-~]*)"([,}])$/.exec(textAt(json, next, valueEnd + 2));
    if (!pair || metadata.has(pair[1]!)) return -1;
    metadata.set(pair[1]!, pair[2]!);
    next = valueEnd + 2;
    if (pair[3] === "}") return next;
  }
}

function textAt(json: Uint8Array, start: number, end: number): string {
  return utf8.decode(json.subarray(start, end));
}
