import assert from "node:assert/strict";
import { posix } from "node:path";
import { describe, it } from "node:test";
import { manifest, sources } from "./sources.ts";

/** From the ground up: a file imports only from its own folder and from floors below. */
const FLOORS: readonly (readonly string[])[] = [
  ["errors.ts", "limits.ts"],
  ["dtype"],
  ["kernels"],
  ["format", "source"],
  ["view", "zip"],
  ["plan"],
  ["checkpoint"],
  // Writers of other formats take what `save` takes.
  ["save"],
  // The scanner of PyTorch's files looks into NumPy's, too.
  ["numpy"],
  ["torch", "gguf", "quant", "transform", "compare", "manifest", "consolidate"],
  // A quantised weight is cut with what belongs to it.
  ["parallel"],
  // The program of a worker thread, which is Node's, runs what the workers of all runtimes run.
  ["workers"],
  ["node", "webgpu", "tfjs", "onnxruntime", "opfs", "hub", "s3"],
  ["index.ts"],
];

interface Import {
  readonly from: string;
  readonly to: string;
  /** `types` are seen by no runtime; `later` is an import by call. */
  readonly kind: "types" | "now" | "later";
}

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
const files = new Map(Array.from(sources(), ([file, text]) => [file, withoutComments(text)]));

/** The imports and re-exports of every file; `to` is a path below src or the bare name that is imported. */
const imports: readonly Import[] = [...files].flatMap(([from, text]) => {
  const found = text.matchAll(
    /^(?:import|export)\b(\s+type\b)?[^;"'`]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"|\bimport\(\s*("[^"]+"|[^)]*)\s*\)/gm,
  );
  return Array.from(found, ([, type, named, bare, dynamic]) => {
    const specifier = named ?? bare ?? dynamic!.replaceAll('"', "");
    const to = specifier.startsWith(".") ? posix.join(posix.dirname(from), specifier) : specifier;
    return { from, to, kind: dynamic !== undefined ? "later" : type !== undefined ? "types" : "now" };
  });
});

const topOf = (path: string): string => path.split("/")[0]!;
const floorOf = (path: string): number => FLOORS.findIndex((floor) => floor.includes(topOf(path)));

describe("the architecture", () => {
  it("is what these tests see", () => {
    assert.ok(files.size > 30 && imports.length > 100, `${files.size} files, ${imports.length} imports`);
    const known = imports.filter(({ from, to }) => from === "save/writer.ts" && to === "errors.ts");
    assert.deepEqual(known, [{ from: "save/writer.ts", to: "errors.ts", kind: "now" }]);
  });

  it("has a floor for every file", () => {
    const homeless = [...files.keys()].filter((file) => floorOf(file) < 0);
    assert.deepEqual(homeless, []);
  });

  it("has imports that name files with their ending, or, when they are needed, optional packages", () => {
    const peers = Object.keys((manifest().peerDependencies as object) ?? {});
    const wrong = imports.filter(({ to, kind }) => {
      return !to.startsWith("node:") && !files.has(to) && !(peers.includes(to) && kind !== "now");
    });
    assert.deepEqual(wrong, []);
  });

  it("lets a file import only from its own folder and from floors below", () => {
    const wrong = imports.filter(({ from, to }) => {
      return files.has(to) && topOf(from) !== topOf(to) && floorOf(to) >= floorOf(from);
    });
    assert.deepEqual(wrong, []);
  });

  it("keeps Node's modules in their folder", () => {
    // Node's globals are for the compiler to find: tsconfig.browser.json gives it no types of Node.
    const wrong = imports.filter(({ from, to }) => to.startsWith("node:") && topOf(from) !== "node");
    assert.deepEqual(wrong, []);
  });

  it("has no circular imports", () => {
    const next = new Map<string, string[]>();
    for (const { from, to, kind } of imports)
      if (kind === "now") next.set(from, [...(next.get(from) ?? []), to]);
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) assert.fail([...path, file].join(" → "));
      if (done.has(file)) return;
      for (const to of next.get(file) ?? []) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of files.keys()) visit(file, []);
  });

  it("has one barrel for each public subpath, and no others", () => {
    const barrels = [...files]
      .filter(([, text]) => /^export (?:type )?(?:\*|\{[^}]*\})\s*from /m.test(text))
      .map(([file]) => file);
    const exported = Object.values(manifest().exports as Record<string, { default?: string }>)
      .flatMap((target) => target.default ?? [])
      .map((file) => file.replace("./dist/src/", "").replace(/\.js$/, ".ts"));
    assert.deepEqual(
      barrels.filter((file) => !exported.includes(file)),
      [],
    );
    assert.deepEqual(
      exported.filter((file) => !files.has(file)),
      [],
    );
  });
});

describe("the package", () => {
  it("has no runtime dependencies, no side effects and no install scripts", () => {
    const { dependencies, optionalDependencies, bundledDependencies, sideEffects, scripts, type } =
      manifest();
    assert.deepEqual(
      [dependencies, optionalDependencies, bundledDependencies],
      [undefined, undefined, undefined],
    );
    assert.equal(sideEffects, false);
    assert.equal(type, "module");
    assert.deepEqual(
      Object.keys((scripts as object) ?? {}).filter((name) => /install|prepare/.test(name)),
      [],
    );
  });

  it("works without its peers", () => {
    const { peerDependencies = {}, peerDependenciesMeta = {} } = manifest();
    const optional = peerDependenciesMeta as Record<string, { optional?: boolean }>;
    for (const name of Object.keys(peerDependencies as object))
      assert.equal(optional[name]?.optional, true, name);
  });

  it("exports each subpath with its types beside its code, and joined for Node", () => {
    for (const [subpath, target] of Object.entries(
      manifest().exports as Record<string, Record<string, string>>,
    )) {
      if (subpath === "./package.json") continue;
      assert.deepEqual(Object.keys(target), ["types", "node", "default"], subpath);
      assert.equal(target.types?.replace(/\.d\.ts$/, ".js"), target.default);
      assert.match(target.default!, /^\.\/dist\/src\//);
      assert.equal(target.node, `./dist/bundle/${subpath === "." ? "index" : subpath.slice(2)}.js`);
    }
  });
});
