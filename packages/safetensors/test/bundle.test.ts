import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { build, type Plugin } from "esbuild";
import { manifest, PACKAGE } from "./sources.ts";

/** Bytes, compressed, that a web page may load before it can open a file and read its tensors. */
const OPEN_BUDGET = 8192;

/** Leaves out what is imported by a call of `import()`: a page loads it when it is needed, if ever. */
const withoutLater: Plugin = {
  name: "without what is loaded later",
  setup: ({ onResolve }) => {
    onResolve({ filter: /./ }, ({ path, kind }) =>
      kind === "dynamic-import" ? { path, external: true } : undefined,
    );
  },
};

/** Bundles a module for browsers, minified, into one text. Nothing is replaced, and nothing left outside but by plugins. */
async function bundle(code: string, plugins: Plugin[] = []): Promise<string> {
  const { outputFiles, errors, warnings } = await build({
    stdin: { contents: code, resolveDir: join(PACKAGE, "src"), loader: "ts" },
    bundle: true,
    minify: true,
    platform: "browser",
    format: "esm",
    target: "es2022",
    logLevel: "silent",
    write: false,
    plugins,
  });
  assert.deepEqual([errors, warnings, outputFiles.length], [[], [], 1]);
  return outputFiles[0]!.text;
}

const compressed = (text: string): number => gzipSync(text, { level: 9 }).length;

describe("a bundle for browsers", () => {
  const portable = Object.entries(manifest().exports as Record<string, { default?: string }>).filter(
    ([subpath, target]) => target.default && subpath !== "./node",
  );
  for (const [subpath, { default: file }] of portable) {
    it(`is made of "${subpath}" without anything of Node`, async (test) => {
      const entry = file!.replace("./dist/src/", "./").replace(/\.js$/, ".ts");
      const text = await bundle(`export * from "${entry}"`);
      assert.doesNotMatch(text, /["']node:|\brequire\(/);
      test.diagnostic(`"${subpath}" takes ${compressed(text)} bytes compressed`);
    });
  }

  it(`of open and TensorHandle takes at most ${OPEN_BUDGET} bytes at once`, async (test) => {
    const code = 'export { open, TensorHandle } from "./index.ts"';
    const size = compressed(await bundle(code, [withoutLater]));
    test.diagnostic(`${size} bytes compressed, ${compressed(await bundle(code))} with what is loaded later`);
    assert.ok(size <= OPEN_BUDGET, `${size} bytes`);
  });

  it("leaves out what is not used", async () => {
    const text = await bundle('export { elementCount } from "./index.ts"');
    assert.ok(text.length < 1500, `${text.length} bytes`);
  });
});
