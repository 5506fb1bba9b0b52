// Compiles the kernels of packages/safetensors/assembly to WebAssembly, as a module of TypeScript that holds the bytes.
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SOURCES = `${ROOT}packages/safetensors/assembly`;
const RESULT = `${ROOT}packages/safetensors/src/kernels/module-bytes.ts`;
// The memory comes from outside, where one can be made that threads share; it has at most 64 Ki pages, as such a one must say.
const MEMORY = ["--importMemory", "--noExportMemory", "--maximumMemory", "65536", "--zeroFilledMemory"];
const OPTIONS = [
  "-O3",
  "--noAssert",
  "--runtime",
  "stub",
  "--enable",
  "simd",
  "--bindings",
  "none",
  ...MEMORY,
];
/** How the import of the memory begins: its names, its kind, and the flag that there is a maximum. */
const MEMORY_IMPORT = "\x03env\x06memory\x02\x01";
/** The flag that `src/kernels/module.ts` adds for memory that threads share. */
const SHARED = 2;

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
  const module = Buffer.from(files.get("kernels.wasm"));
  const flagsAt = module.indexOf(MEMORY_IMPORT) + MEMORY_IMPORT.length - 1;
  if (flagsAt < MEMORY_IMPORT.length) throw new Error("the kernels do not import a memory with a maximum");
  const shared = Buffer.from(module);
  shared[flagsAt] |= SHARED;
  for (const form of [module, shared])
    if (!WebAssembly.validate(form))
      throw new Error("the kernels are no valid module, or none with shared memory");
  const bytes = module.toString("base64");
  mkdirSync(new URL(".", pathToFileURL(RESULT)), { recursive: true });
  writeFileSync(
    RESULT,
    `// Made by scripts/build-kernels.mjs.\n\n/** The kernels in WebAssembly, as base64. */\nexport const MODULE_BYTES: string =\n  "${bytes}";\n\n/** Where they say of which kind the memory is. */\nexport const MEMORY_FLAGS_AT: number = ${flagsAt};\n`,
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
