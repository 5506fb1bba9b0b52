/** A test for names: in the glob, `*` stands for any text and `?` for one character. Without a glob all names pass. */
export function globFilter(glob: string | undefined): (name: string) => boolean {
  if (glob === undefined) return () => true;
  const parts = glob.split(/(\*+|\?)/).map((part) => {
    if (part.startsWith("*")) return ".*";
    return part === "?" ? "." : part.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  });
  const pattern = new RegExp(`^${parts.join("")}$`, "su");
  return (name) => pattern.test(name);
}
