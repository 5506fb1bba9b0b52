import { SafetensorsError } from "../errors.ts";

/** A member of an object in a text of JSON: where its key begins, its value begins, and its value ends. */
interface Member {
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

/**
 * A text of JSON with one member set or removed, and every other character as it was: parsed and written again, `1.0` would
 * become `1`, which Python takes for another type.
 *
 * @param path keys from the outermost object on; objects on the way that are missing are not made
 * @param value its new text of JSON; removed without one
 * @throws `INVALID_JSON` if the text is no object in JSON
 */
export function withMember(text: string, path: readonly string[], value: string | undefined): string {
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError("INVALID_JSON", `not JSON: ${(cause as Error).message}`, { cause });
  }
  const start = skipSpace(text, 0);
  if (text[start] !== "{") throw new SafetensorsError("INVALID_JSON", "the JSON is no object");
  let object = start;
  for (const key of path.slice(0, -1)) {
    const member = membersOf(text, object).get(key);
    if (!member || text[member.value] !== "{") return text;
    object = member.value;
  }
  const members = membersOf(text, object);
  const key = path.at(-1)!;
  const member = members.get(key);
  if (member && value !== undefined) return text.slice(0, member.value) + value + text.slice(member.end);
  if (member) return without(text, member);
  return value === undefined ? text : withLast(text, object, [...members.values()].at(-1), key, value);
}

/** Removes a member with the comma that parts it from its neighbour. */
function without(text: string, { start, end }: Member): string {
  const after = skipSpace(text, end);
  if (text[after] === ",") return text.slice(0, start) + text.slice(skipSpace(text, after + 1));
  const before = text.slice(0, start).trimEnd();
  return (before.endsWith(",") ? before.slice(0, -1) : before) + text.slice(end);
}

/** Adds a member behind the last one, spaced as that one is. */
function withLast(
  text: string,
  object: number,
  last: Member | undefined,
  key: string,
  value: string,
): string {
  const member = `${JSON.stringify(key)}: ${value}`;
  if (!last) return `${text.slice(0, object + 1)}${member}${text.slice(skipSpace(text, object + 1))}`;
  const space = /\s*$/.exec(text.slice(object + 1, last.start))![0];
  return `${text.slice(0, last.end)},${space}${member}${text.slice(last.end)}`;
}

/** Members of the object that begins at this place, by their keys. Of equal keys the last one counts, as for JSON.parse. */
function membersOf(text: string, object: number): Map<string, Member> {
  const members = new Map<string, Member>();
  let at = skipSpace(text, object + 1);
  while (text[at] !== "}") {
    const start = at;
    const keyEnd = valueEnd(text, start);
    const value = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = valueEnd(text, value);
    members.set(JSON.parse(text.slice(start, keyEnd)) as string, { start, value, end });
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return members;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (/\s/.test(text[at] ?? "")) at++;
  return at;
}

/** Where the value ends that begins at this place, in a text that is known to be JSON. */
function valueEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"') {
      at++;
      while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    } else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") {
      if (depth === 0) return at;
      depth--;
    } else if (depth === 0 && /[,:\s]/.test(character)) return at;
    if (depth === 0 && /["}\]]/.test(text[at]!)) return at + 1;
  }
  return text.length;
}
