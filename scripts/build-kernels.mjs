// Compiles the kernels of packages/safetensors/assembly to WebAssembly, as a module of TypeScript that holds the bytes.
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SOURCES = `${ROOT}packages/safetensors/assembly`;
const RESULT = `${ROOT}packages/safetensors/src/kernels/module-bytes.ts`;
const OPTIONS = ["-O3", "--noAssert", "--runtime", "stub", "--enable", "simd", "--bindings", "none"];

/** Compiles if a source, this script or the compiler is newer than the result. */
export async function buildKernels() {
  const result = statSync(RESULT, { throwIfNoEntry: false });
  if (result && inputs().every((file) => statSync(file).mtimeMs <= result.mtimeMs)) return;
  // Only now is it sure to be installed.
  const { default: asc } = await import("assemblyscript/asc");
  const files = new Map();
  const { error, stderr } = await asc.main(["index.ts", "--outFile", "kernels.wasm", ...OPTIONS], {
    readFile: (name) => textOf(`${SOURCES}/${name}`),
    writeFile: (name, contents) => files.set(name, contents),
    listFiles: () => [],
  });
  if (error) throw new Error(`the kernels cannot be compiled: ${error.message}\n${stderr}`);
  const bytes = Buffer.from(files.get("kernels.wasm")).toString("base64");
  mkdirSync(new URL(".", pathToFileURL(RESULT)), { recursive: true });
  writeFileSync(
    RESULT,
    `// Made by scripts/build-kernels.mjs.\n\n/** The kernels in WebAssembly, as base64. */\nexport const MODULE_BYTES: string =\n  "${bytes}";\n`,
  );
}

function inputs() {
  const sources = readdirSync(SOURCES).filter((file) => file.endsWith(".ts"));
  const compiler = `${ROOT}node_modules/assemblyscript/package.json`;
  return [...sources.map((file) => `${SOURCES}/${file}`), fileURLToPath(import.meta.url), compiler];
}

/** `null` for a file that is not there: the compiler asks for several names. */
function textOf(file) {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ? readFileSync(file, "utf8") : null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildKernels();
