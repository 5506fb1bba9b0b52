import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the package, seen from the compiled tests in dist/test. */
export const PACKAGE: string = fileURLToPath(new URL("../..", import.meta.url));

/** The library's sources by path below src, with "/" on every system. */
export function sources(): Map<string, string> {
  const folder = join(PACKAGE, "src");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  return new Map(
    files
      .sort()
      .map((file) => [file.replaceAll("\\", "/"), readFileSync(join(folder, file), "utf8")] as const),
  );
}

/** The package's package.json. */
export function manifest(): Record<string, unknown> {
  return JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
}
