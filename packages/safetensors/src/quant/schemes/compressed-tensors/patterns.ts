import { type Budget, Pattern } from "../pattern.ts";

/** Characters of a pattern, and of a name that is held against it: honest ones have at most some hundred. */
const MAX_LENGTH = 1000;

/** Entries of targets and of `ignore` that are read. Lists of all modules have some ten thousand. */
const MAX_TARGETS = 200_000;

/** Targets of a group, or `ignore`: names of modules, patterns for them, and classes. */
export class Targets {
  // Long lists of names cost no more than short ones.
  readonly #names = new Set<string>();
  readonly #patterns: Pattern[] = [];
  readonly #classes: string[] = [];
  readonly #budget: Budget;

  /**
   * `re:` and a regular expression as Python's `re.match` has it (held against the start of the name), or a name. A name
   * that is one word with a capital letter is that of a class.
   *
   * @param report what is said of an entry that cannot be used
   */
  constructor(entries: unknown, budget: Budget, report: (text: string) => void) {
    this.#budget = budget;
    const list: unknown[] = Array.isArray(entries) ? entries : [];
    if (list.length > MAX_TARGETS) report(`has more than ${MAX_TARGETS} entries: the rest is left out`);
    for (const entry of list.slice(0, MAX_TARGETS)) {
      const why = this.#add(entry);
      if (why) report(`has an entry that ${why}: it is left out`);
    }
  }

  #add(entry: unknown): string | undefined {
    if (typeof entry !== "string") return "is no text";
    if (/^[A-Z]\w*$/.test(entry)) this.#classes.push(entry);
    else if (!entry.startsWith("re:")) this.#names.add(entry);
    else if (entry.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
    else {
      try {
        this.#patterns.push(new Pattern(entry.slice(3)));
      } catch (error) {
        return `is no regular expression that is known here (${(error as Error).message})`;
      }
    }
    return undefined;
  }

  /** Whether a name or a pattern stands for this module. With no work left: no pattern does. */
  names(module: string): boolean {
    if (this.#names.has(module)) return true;
    return module.length <= MAX_LENGTH && this.#patterns.some((one) => one.matches(module, this.#budget));
  }

  /**
   * Whether a class stands for it. What class a module is of is not stored: `Embedding` stands for modules whose name says
   * so, and every other class for the rest.
   */
  classes(module: string): boolean {
    const isEmbedding = /embed[^.]*$/.test(module.slice(-MAX_LENGTH));
    return this.#classes.some((one) => one.includes("Embedding") === isEmbedding);
  }
}
