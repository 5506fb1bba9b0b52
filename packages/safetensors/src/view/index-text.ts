import { quote, SafetensorsError } from "../errors.ts";
import type { IndexItem } from "./index-items.ts";

/**
 * Reads an index as it is written in Python, with or without its brackets: `[0, :10, ::-1]`, `..., None, [3, 1]`.
 *
 * @throws `INVALID_SLICE` with the item that cannot be read.
 */
export function parseIndex(text: string): IndexItem[] {
  const trimmed = text.trim();
  const inner = closingBracket(trimmed) === trimmed.length - 1 ? trimmed.slice(1, -1) : trimmed;
  return splitItems(inner).map(parseItem);
}

/** Place of the bracket that closes the one at the start, or -1. */
function closingBracket(text: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "[") depth++;
    else if (text[i] === "]") depth--;
    if (depth === 0) return i === 0 ? -1 : i;
  }
  return -1;
}

/** The parts between the commas that are not inside brackets, trimmed. A comma at the end is allowed, as in Python. */
function splitItems(text: string): string[] {
  const items = text.split(/,(?![^[]*\])/).map((item) => item.trim());
  if (items.at(-1) === "") items.pop();
  return items;
}

function parseItem(item: string): IndexItem {
  if (item === "...") return "...";
  if (item === "None" || item === "newaxis") return "newaxis";
  const list = /^\[([^[\]]*)\]$/.exec(item);
  if (list) return splitItems(list[1]!).map((each) => parseInteger(each, item));
  const parts = item.split(":").map((part) => part.trim());
  if (parts.length === 1) return parseInteger(item, item);
  if (parts.length > 3) throw unreadable(item);
  const [start, stop, step] = parts.map((part) => (part === "" ? null : parseInteger(part, item)));
  return { start, stop, step };
}

function parseInteger(text: string, item: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw unreadable(item);
  return Number(text);
}

function unreadable(item: string): SafetensorsError {
  const forms = "an integer, start:stop:step, ..., None or a list such as [0, 2]";
  return new SafetensorsError(
    "INVALID_SLICE",
    `${quote(item)} cannot be read as an index; expected ${forms}`,
  );
}
