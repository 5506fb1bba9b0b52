import { quote } from "../errors.ts";
import { invalidRecipe } from "./problem.ts";

/** Characters of a pattern, and captures in it: names of models have a quarter of that. */
const MAX_PATTERN = 1024;
const MAX_CAPTURES = 8;

/** One part of a pattern, between two dots. */
interface Part {
  readonly before: string;
  readonly capture?: string;
  readonly after: string;
  /** Any number of whole parts, also none. */
  readonly isRest: boolean;
}

/**
 * Names of tensors with captures: `{expert}` stands for some characters without a dot, at least one, and
 * `{prefix...}` for any number of whole parts between dots. A part has at most one capture, and a pattern one of many
 * parts, so that there is one way only in which a name matches, and it is found without trying.
 */
export class NamePattern {
  readonly text: string;
  readonly captures: readonly string[];
  readonly #parts: readonly Part[];
  readonly #rest: number;
  /** How every name that matches begins and ends: most names are told by that. */
  readonly #begin: string;
  readonly #end: string;

  /** @param path place in the recipe, for errors. */
  constructor(text: string, path: string) {
    if (text === "" || text.length > MAX_PATTERN) {
      throw invalidRecipe(path, `must be a pattern of 1 to ${MAX_PATTERN} characters`);
    }
    this.text = text;
    this.#parts = partsOf(text, path);
    this.#rest = this.#parts.findIndex(({ isRest }) => isRest);
    const [begin, end] = [/^[^{]*/.exec(text)![0], /[^}]*$/.exec(text)![0]];
    // A capture of no parts takes a dot with it.
    this.#begin = this.#rest < 0 ? begin : begin.replace(/\.$/, "");
    this.#end = this.#rest < 0 ? end : end.replace(/^\./, "");
    this.captures = this.#parts.flatMap(({ capture }) => capture ?? []);
    const isUnique = new Set(this.captures).size === this.captures.length;
    const rests = this.#parts.filter(({ isRest }) => isRest).length;
    if (!isUnique) throw invalidRecipe(path, `${quote(text)} has a capture twice`);
    if (rests > 1) throw invalidRecipe(path, `${quote(text)} can have one capture of several parts only`);
    if (this.captures.length > MAX_CAPTURES) {
      throw invalidRecipe(path, `${quote(text)} has more than ${MAX_CAPTURES} captures`);
    }
  }

  /** What the captures stand for in a name; nothing if it does not match. */
  match(name: string): Map<string, string> | undefined {
    if (!name.startsWith(this.#begin) || !name.endsWith(this.#end)) return undefined;
    const parts = name.split(".");
    const more = parts.length - this.#parts.length;
    if (this.#rest < 0 ? more !== 0 : more < -1) return undefined;
    const found = new Map<string, string>();
    for (const [index, part] of this.#parts.entries()) {
      if (part.isRest) {
        found.set(part.capture!, parts.slice(index, index + more + 1).join("."));
        continue;
      }
      const text = parts[this.#rest >= 0 && index > this.#rest ? index + more : index]!;
      const { before, capture, after } = part;
      if (capture === undefined) {
        if (text !== before) return undefined;
      } else {
        const length = text.length - before.length - after.length;
        if (length < 1 || !text.startsWith(before) || !text.endsWith(after)) return undefined;
        found.set(capture, text.slice(before.length, before.length + length));
      }
    }
    return found;
  }

  /** The name with these captures. */
  fill(captures: ReadonlyMap<string, string>): string {
    const parts: string[] = [];
    for (const { before, capture, after, isRest } of this.#parts) {
      const text = capture === undefined ? "" : captures.get(capture)!;
      if (!isRest || text !== "") parts.push(before + text + after);
    }
    return parts.join(".");
  }
}

/** Dots between braces belong to a capture. */
function partsOf(text: string, path: string): Part[] {
  return text.split(/\.(?![^{}]*\})/).map((part) => {
    const [, before = "", capture, rest, after = ""] =
      /^([^{}]*)(?:\{([a-zA-Z]\w{0,63})(\.\.\.)?\}([^{}]*))?$/.exec(part) ?? [];
    const isRest = rest !== undefined;
    const isPart = before + after !== "" || capture !== undefined || part === "";
    if (!isPart || (isRest && before + after !== "")) {
      throw invalidRecipe(
        path,
        `${quote(text)} has a part ${quote(part)}; name, {capture} and {capture...} are allowed`,
      );
    }
    return { before, after, isRest, ...(capture !== undefined && { capture }) };
  });
}
