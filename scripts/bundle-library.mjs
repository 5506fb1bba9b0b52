import { readdirSync, readFileSync } from "node:fs";
import { join, posix, relative } from "node:path";
import { build } from "esbuild";
import { ROOT } from "./prepare.mjs";
import { writeBundle } from "./write-bundle.mjs";

const PACKAGE = join(ROOT, "packages/safetensors");
const MODULES = join(PACKAGE, "dist/src");
const BUNDLE = join(PACKAGE, "dist/bundle");

/** What nearly all programs load: these modules, and what they import, also by a call. */
const CORE = ["index", "dtype/index", "format/index", "format/diagnose", "save/index"];

/** What programs for Node load besides: what this module imports. */
const NODE = "node/index";

/** Programs of workers, where the parts that start them look for them. */
const PROGRAMS = new Map([
  ["workers/worker", "parts/worker"],
  ["node/pool-worker", "node/pool-worker"],
  ["node/quantize/quantize-worker", "parts/quantize-worker"],
]);

/**
 * Joins the library into few files for Node, which takes as long to find a file as to read thirty thousand characters.
 * Each module is in one part, which all subpaths share, so a class is the same one in all of them; a subpath is a small
 * file that exports its names. What is imported by a call is in a part too.
 */
export async function bundleLibrary() {
  const modules = await listModules();
  const fileOf = files(modules);
  const parts = new Map();
  const aliases = new Map();
  for (const [module, { exports }] of modules) {
    if (PROGRAMS.has(module) || exports.length === 0) continue;
    const file = fileOf(module);
    const part = parts.get(file) ?? { taken: new Set(), text: "" };
    parts.set(file, part);
    // Some modules of a part export the same name.
    const inPart = (name) => (part.taken.has(name) ? `${name}_of_${module.replaceAll(/\W/g, "_")}` : name);
    const names = new Map(exports.map((name) => [name, inPart(name)]));
    for (const alias of names.values()) part.taken.add(alias);
    part.text += reexport(names, ([name, alias]) => `${name} as ${alias}`, `./${module}.js`);
    aliases.set(module, names);
  }
  /** What a file in this folder writes to have a module's names. */
  const taking = (module, folder) => {
    const way = posix.relative(folder, `${fileOf(module)}.js`);
    const from = way.startsWith(".") ? way : `./${way}`;
    return { from, text: reexport(aliases.get(module), ([name, alias]) => `${alias} as ${name}`, from) };
  };
  const { outputFiles } = await build({
    entryPoints: Object.fromEntries([
      ...Array.from(PROGRAMS, ([module, file]) => [file, join(MODULES, `${module}.js`)]),
      ...Array.from(parts.keys(), (file) => [file, `part:${file}`]),
    ]),
    plugins: [joining(fileOf, parts, aliases, taking)],
    outdir: BUNDLE,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "linked",
    sourcesContent: false,
    external: ["koffi", "aws4fetch"],
    write: false,
    logLevel: "warning",
  });
  const { exports } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  const subpaths = Object.values(exports).filter(({ node }) => node);
  for (const file of outputFiles.filter(({ path }) => path.endsWith(".map")))
    file.contents = withoutMadeUp(file.text, (module, folder) => taking(module, folder).from);
  writeBundle(BUNDLE, [
    ...outputFiles,
    ...subpaths.map(({ node, default: module }) => ({
      path: join(PACKAGE, node),
      contents: taking(withoutEnding(posix.relative("./dist/src", module)), ".").text,
    })),
  ]);
}

/** What each module of src, as "torch/reader", exports and imports. Those that only export others' names come last. */
async function listModules() {
  // By the sources, so that the compiled form of a deleted one is not taken.
  const names = readdirSync(join(PACKAGE, "src"), { recursive: true })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.replaceAll("\\", "/").replace(/\.ts$/, ""));
  const { metafile } = await build({
    entryPoints: names.map((module) => `${module}.js`),
    absWorkingDir: MODULES,
    outdir: ".",
    format: "esm",
    metafile: true,
    write: false,
  });
  const found = Object.values(metafile.outputs).map(({ entryPoint, exports, imports }) => {
    const own = imports
      .filter(({ path }) => path.startsWith("."))
      .map(({ path, kind }) => {
        const module = withoutEnding(posix.join(posix.dirname(entryPoint), path));
        return { module, isLater: kind === "dynamic-import" };
      });
    return [withoutEnding(entryPoint), { exports, imports: own }];
  });
  const isBarrel = ([module]) => /(?:^|\/)index$/.test(module);
  return new Map([...found.filter((entry) => !isBarrel(entry)), ...found.filter(isBarrel)]);
}

/** Tells the file of a module: parts/core, parts/node-core, or that of its folder. */
function files(modules) {
  const core = new Set();
  const node = new Set();
  const reach = (module, reached, withLater) => {
    if (core.has(module) || reached.has(module)) return;
    reached.add(module);
    for (const { module: next, isLater } of modules.get(module).imports)
      if (withLater || !isLater) reach(next, reached, withLater);
  };
  for (const module of CORE) reach(module, core, true);
  reach(NODE, node, false);
  return (module) => {
    const folder = module.split("/")[0];
    const part = core.has(module) ? "core" : node.has(module) && folder !== "node" ? "node-core" : folder;
    return PROGRAMS.get(module) ?? `parts/${part}`;
  };
}

/** Takes into a file the modules that belong to it; names of others come from their part. */
function joining(fileOf, parts, aliases, taking) {
  return {
    name: "joining",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^part:/ }, ({ path }) => ({ path: path.slice(5), namespace: "part" }));
      onLoad({ filter: /./, namespace: "part" }, ({ path }) => ({
        contents: parts.get(path).text,
        resolveDir: MODULES,
      }));
      onResolve({ filter: /^\./ }, ({ path, importer, namespace, resolveDir, kind }) => {
        if (namespace === "elsewhere") return { path, external: true };
        const moduleAt = (file) => withoutEnding(relative(MODULES, file).replaceAll("\\", "/"));
        const here = namespace === "part" ? importer : fileOf(moduleAt(importer));
        const module = moduleAt(join(resolveDir, path));
        const folder = posix.dirname(here);
        if (kind === "dynamic-import") {
          const renamed = Array.from(aliases.get(module)).find(([name, alias]) => name !== alias);
          if (renamed) return { errors: [{ text: `two modules of a part export "${renamed[0]}"` }] };
          return { path: taking(module, folder).from, external: true };
        }
        if (fileOf(module) === here) return undefined;
        return { path: `${folder}/${module}`, namespace: "elsewhere", pluginData: { module, folder } };
      });
      onLoad({ filter: /./, namespace: "elsewhere" }, ({ pluginData: { module, folder } }) => ({
        contents: taking(module, folder).text,
      }));
    },
  };
}

/** A source map that names, in the place of a module that was made up for names from elsewhere, the file they come from. */
const withoutMadeUp = (map, fileFor) =>
  map.replace(/"elsewhere:(\w+)\/([^"]+)"/g, (_, folder, module) => JSON.stringify(fileFor(module, folder)));

const withoutEnding = (file) => file.replace(/\.js$/, "");

const reexport = (names, form, from) => `export { ${Array.from(names, form).join(", ")} } from "${from}";\n`;
