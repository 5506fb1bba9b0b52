import { SafetensorsError } from "safetensors.js";

/** Collects the globs of an option that may be given several times. */
export const collectGlobs = (glob: string, before: readonly string[] = []): string[] => [...before, glob];

/** A test for names: as `globsFilter`, but without globs all names pass. */
export function globFilter(globs: readonly string[] | undefined): (name: string) => boolean {
  return globs === undefined ? () => true : globsFilter(globs);
}

/** A test for names that match at least one of the globs, in which `*` stands for any text and `?` for one character. */
export function globsFilter(globs: readonly string[]): (name: string) => boolean {
  const patterns = globs.map(patternOf);
  return (name) => patterns.some((pattern) => pattern.test(name));
}

/**
 * Globs that choose nothing are a mistake: what is done with nothing would seem to succeed.
 *
 * @throws `TENSOR_NOT_FOUND`
 */
export function checkChoice(names: Iterable<string>, globs: readonly string[] | undefined): void {
  if (globs === undefined || Array.from(names).some(globsFilter(globs))) return;
  throw new SafetensorsError("TENSOR_NOT_FOUND", `no tensor has a name like ${globs.join(" or ")}`);
}

function patternOf(glob: string): RegExp {
  const parts = glob.split(/(\*+|\?)/).map((part) => {
    if (part.startsWith("*")) return ".*";
    return part === "?" ? "." : part.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("")}$`, "su");
}
