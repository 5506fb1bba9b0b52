import { compareUtf8 } from "../../format/utf8.ts";

/**
 * The text of an index as transformers writes it: sorted keys, two spaces, a final line break. It is put together by
 * hand, as names such as "10" or "__proto__" would not keep their place in a JavaScript object.
 */
export function encodeIndex(
  metadata: Readonly<Record<string, unknown>>,
  weightMap: ReadonlyMap<string, string>,
): Uint8Array {
  const members = (entries: readonly (readonly [string, unknown])[]): string => {
    const lines = [...entries]
      .sort(([a], [b]) => compareUtf8(a, b))
      .map(([key, value]) => {
        const text = JSON.stringify(value, undefined, 2).replaceAll("\n", "\n    ");
        return `    ${JSON.stringify(key)}: ${text}`;
      });
    return lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n  }`;
  };
  const text = `{\n  "metadata": ${members(Object.entries(metadata))},\n  "weight_map": ${members([...weightMap])}\n}\n`;
  return new TextEncoder().encode(text);
}
