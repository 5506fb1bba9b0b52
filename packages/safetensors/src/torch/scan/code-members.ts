// biome-ignore-all lint/suspicious/noControlCharactersInRegex: names end with such a byte.
import { quote } from "../../errors.ts";
import type { Part, Scan } from "./part.ts";

/**
 * Modules of Python and libraries by their names, what Python runs when it starts (`site-packages/x.pth`; elsewhere that
 * is a PyTorch file), and what tells a package of torch.package.
 */
const CODE =
  /\.(?:py[cdwz]?|so(?:\.\d+)*|dll|dylib)(?:[\0\n]|$)|-packages\/[^/]+\.pth(?:[\0\n]|$)|(?:^|\/)\.data\/extern_modules$/i;

/** Finds code among the members of an archive, by their names, and says so once. */
export class CodeMembers {
  readonly #scan: Scan;
  readonly #archive: Part;
  #isFound = false;

  constructor(scan: Scan, archive: Part) {
    this.#scan = scan;
    this.#archive = archive;
  }

  /** @param name of a member, or properties of one in which its name stands */
  check(name: string): void {
    if (this.#isFound || !CODE.test(name)) return;
    this.#isFound = true;
    const text = `brings along code that loading may run: ${quote(name.slice(-200))}`;
    this.#scan.add(this.#archive, "contains-code", text);
  }
}
