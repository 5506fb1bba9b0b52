import { readFileSync } from "node:fs";

/** The names in a file by `JSON.parse` alone, which checks nothing of what a reader must: a limit. */
export function list(path) {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  return { names: Object.keys(JSON.parse(file.toString("utf8", 8, 8 + length))) };
}
