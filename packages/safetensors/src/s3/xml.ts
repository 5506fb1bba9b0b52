/** The first `limit` bytes of a body, as text. */
export interface BodyText {
  readonly text: string;
  /** Whether that is all of it. */
  readonly whole: boolean;
}

/** Reads a body as text, and no more of it than `limit` bytes. */
export async function readText({ body }: Response, limit: number, onBytes?: () => void): Promise<BodyText> {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let left = limit; ; ) {
    const bytes = (await reader?.read())?.value;
    if (bytes === undefined) return { text: text + decoder.decode(), whole: true };
    onBytes?.();
    text += decoder.decode(bytes.subarray(0, left), { stream: true });
    left -= bytes.length;
    if (left < 0) {
      // Nobody waits for the rest, whatever becomes of it.
      reader?.cancel().catch(() => {});
      return { text, whole: false };
    }
  }
}

/**
 * The contents of the elements of this name that hold nothing but text. S3 writes XML without attributes, comments and
 * CDATA where that matters, so this is all there is to reading it.
 */
export function textsOf(xml: string, name: string): string[] {
  return Array.from(xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g")), ([, text]) =>
    unescapeText(text!),
  );
}

const NAMED: ReadonlyMap<string, string> = new Map([
  ["lt", "<"],
  ["gt", ">"],
  ["amp", "&"],
  ["quot", '"'],
  ["apos", "'"],
]);

/** Replaces references to characters; what is none stays as it is. */
function unescapeText(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,4}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return NAMED.get(name) ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
