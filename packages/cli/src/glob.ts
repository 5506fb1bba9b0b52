/** A test for names: in the glob, `*` stands for any text and `?` for one character. Without a glob all names pass. */
export function globFilter(glob: string | undefined): (name: string) => boolean {
  return glob === undefined ? () => true : globsFilter([glob]);
}

/** A test for names that match at least one of the globs. */
export function globsFilter(globs: readonly string[]): (name: string) => boolean {
  const patterns = globs.map(patternOf);
  return (name) => patterns.some((pattern) => pattern.test(name));
}

function patternOf(glob: string): RegExp {
  const parts = glob.split(/(\*+|\?)/).map((part) => {
    if (part.startsWith("*")) return ".*";
    return part === "?" ? "." : part.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("")}$`, "su");
}
