import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { fixturePath } from "./fixtures.ts";
import { manifest, PACKAGE } from "./sources.ts";
import { handMade, temporaryFolder } from "./support.ts";

const targets = Object.entries(
  manifest().exports as Record<string, { readonly node?: string; readonly default?: string }>,
).filter(([subpath]) => subpath !== "./package.json");

/** What a program for Node gets. */
const imported = async <Module>(subpath: string): Promise<Module> =>
  import(subpath.replace(".", "safetensors.js"));

const inPackage = (file: string): Promise<object> => import(pathToFileURL(join(PACKAGE, file)).href);

describe("the bundle for Node", () => {
  const folder = join(PACKAGE, "dist/bundle");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js"))
    .map((file) => file.replaceAll("\\", "/"));

  for (const [subpath, target] of targets) {
    it(`exports from "${subpath}" what the modules export`, async () => {
      const bundle = await inPackage(target.node!);
      assert.deepEqual(Object.keys(bundle), Object.keys(await inPackage(target.default!)));
      assert.equal(await imported(subpath), bundle);
    });
  }

  it("is few files, which import only each other, Node's modules and optional packages", () => {
    assert.ok(files.length < 50, `${files.length} files`);
    const peers = Object.keys(manifest().peerDependencies as object);
    for (const file of files) {
      const text = readFileSync(join(folder, file), "utf8");
      const named = text.matchAll(/^(?:import|export)\b[^"]*\bfrom "([^"]+)"|^import "([^"]+)"/gm);
      const called = text.matchAll(/\bimport\("([^"]+)"\)|new URL\("(\.[^"]+)", import\.meta/g);
      for (const [, first, second] of [...named, ...called]) {
        const name = (first ?? second)!;
        if (name.startsWith("node:") || peers.includes(name)) continue;
        assert.ok(files.includes(posix.join(posix.dirname(file), name)), `${file} asks for ${name}`);
      }
    }
  });

  it("has source maps, which name only files of the package", () => {
    let count = 0;
    for (const file of files.filter((name) => name.includes("/"))) {
      const { sources } = JSON.parse(readFileSync(join(folder, `${file}.map`), "utf8"));
      for (const source of sources)
        assert.ok(existsSync(join(folder, file, "..", source)), `${file}: ${source}`);
      count += sources.length;
    }
    assert.ok(count > 100, `${count} sources`);
  });

  it("has no parts that import each other in a circle, where the order of loading would count", () => {
    const importsOf = (file: string): string[] => {
      const text = readFileSync(join(folder, file), "utf8");
      const named = text.matchAll(/^(?:import|export)\b[^"]*\bfrom "(\.[^"]+)"/gm);
      return Array.from(named, ([, name]) => posix.join(posix.dirname(file), name!));
    };
    const done = new Set<string>();
    const visit = (file: string, above: readonly string[]): void => {
      assert.ok(!above.includes(file), [...above, file].join(" → "));
      if (done.has(file)) return;
      for (const next of importsOf(file)) visit(next, [...above, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
  });

  it("gives by a call of import() the names that are taken", async () => {
    const taken = /\{([^{}]*)\} = await import\("(\.[^"]+)"\)|\(await import\("(\.[^"]+)"\)\)\.(\w+)/g;
    let count = 0;
    for (const file of files) {
      for (const [, list, from, called, one] of readFileSync(join(folder, file), "utf8").matchAll(taken)) {
        const names = one ? [one] : list!.split(",").map((name) => name.split(":")[0]!.trim());
        const given = await inPackage(posix.join("dist/bundle", posix.dirname(file), (from ?? called)!));
        for (const name of names) assert.ok(name in given, `${file}: ${name}`);
        count++;
      }
    }
    assert.ok(count > 10, `${count} calls`);
  });
});

describe("a program that imports the package", () => {
  it("meets one class of errors in all subpaths", async () => {
    const { SafetensorsError } = await imported<typeof import("../src/index.ts")>(".");
    const { openPath } = await imported<typeof import("../src/node/index.ts")>("./node");
    const { parseRecipe } = await imported<typeof import("../src/transform/index.ts")>("./transform");
    await assert.rejects(openPath(join(temporaryFolder(), "none.safetensors")), SafetensorsError);
    assert.throws(() => parseRecipe("{"), SafetensorsError);
  });

  it("finds the program of a pool's workers", async () => {
    const { openPool } = await imported<typeof import("../src/workers/index.ts")>("./workers");
    const file = handMade({ a: { dtype: "U8", shape: [2], data: Uint8Array.of(3, 4) } });
    await using pool = await openPool(file, { workers: 1 });
    assert.deepEqual([...(await pool.get("a")).bytes], [3, 4]);
  });

  it("finds the program of the workers that quantise", async () => {
    const { openPath, quantizeWeights } = await imported<typeof import("../src/node/index.ts")>("./node");
    await using model = await openPath(fixturePath("quant/llama/model"));
    const weights = [[...model.keys()].find((name) => name.endsWith("q_proj.weight"))!];
    const options = { weights, scheme: "fp8-dynamic", config: {}, threads: 1 };
    const { tensors, close } = await quantizeWeights(temporaryFolder(), model, options);
    assert.equal(tensors.get(weights[0]!)!.dtype, "F8_E4M3");
    await close(false);
  });
});
