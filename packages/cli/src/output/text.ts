/** Characters that steer a terminal or turn the direction of text; line breaks are among them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const STEERING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Cs}/gu;

/** Names longer than this are cut. */
const MAX_NAME_LENGTH = 200;

/** Foreign text made safe to show: what could steer the terminal becomes an escape such as `\u001b`. */
export function printable(text: string): string {
  return text.replace(STEERING, escapeCharacter);
}

/** The same for text of several lines, whose breaks stay. */
export function printableLines(text: string): string {
  return text.replace(STEERING, (character) => (character === "\n" ? character : escapeCharacter(character)));
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** A name or a value as it stands, if that is plain; in quotes and escaped, if not; cut if it is long. */
export function nameText(name: string): string {
  if (/^[!-~]{1,200}$/.test(name)) return name;
  const cut = name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH)}…` : name;
  const plain = name !== "" && name === name.trim() && printable(name) === name;
  return plain ? cut : printable(JSON.stringify(cut));
}

/** A value as JSON that is safe to show: only escapes differ, what it says is the same. */
export function toJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, undefined, indent);
  return /^[\n -~]*$/.test(json) ? json : printableLines(json);
}
