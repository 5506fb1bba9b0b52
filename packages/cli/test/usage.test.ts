import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BIN, safetensors, safetensorsProcess, temporaryFolder } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

const COMMANDS = [
  ...["inspect", "show", "stats", "diff", "check", "scan", "hash", "repair", "convert", "split", "merge"],
  ...["extract", "rename", "edit", "cast", "transform", "consolidate", "plan", "shard"],
];

test("--help of each command has its options, examples and exit codes", () => {
  const main = safetensors(["--help"]);
  assert.equal(main.code, 0);
  for (const command of COMMANDS) {
    assert.match(main.stdout, new RegExp(`^ {2}${command} `, "m"));
    const { code, stdout, stderr } = safetensors([command, "--help"]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.match(stdout, new RegExp(`^Usage: safetensors ${command} `));
    for (const part of ["--json", `Examples:\n  safetensors ${command} `, "Exit codes:\n"]) {
      assert.ok(stdout.includes(part), `${command} --help lacks ${part}`);
    }
    for (const line of stdout.split("\n")) assert.ok(line.length <= 100, line);
  }
});

test("--version prints the version of the package", () => {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8"));
  assert.deepEqual(safetensorsProcess(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
});

test("wrong usage exits with 2, explains itself and suggests what may be meant", () => {
  for (const [args, message] of [
    [["inspekt", "x"], /unknown command 'inspekt'\n\(Did you mean inspect\?\)/],
    [["inspect"], /missing required argument 'input'/],
    [["inspect", "x", "--jsn"], /unknown option '--jsn'\n\(Did you mean --json\?\)/],
    [["inspect", "x", "--limit", "many"], /whole number/],
    [["check"], /missing required argument 'input'/],
    [["convert", "a", "b", "c"], /too many arguments/],
    [[], /Usage: safetensors/],
  ] as const) {
    const { code, stdout, stderr } = safetensors(args);
    assert.equal(code, 2, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, message);
  }
});

test("help of a command can be asked for in both ways", () => {
  assert.equal(safetensors(["help", "check"]).stdout, safetensors(["check", "--help"]).stdout);
});

test("a command that was not built says what to do", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "bin"));
  const copy = join(folder, "bin", "safetensors.mjs");
  copyFileSync(BIN, copy);
  const { status, stderr } = spawnSync(process.execPath, [copy], { encoding: "utf8" });
  assert.equal(status, 2);
  assert.match(stderr, /run `npm run build` first/);
});

test("colours follow NO_COLOR and FORCE_COLOR, and are off where output is no terminal", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  writeHeader(path, ...evenHeader(["a"]));
  const escapes = (env: NodeJS.ProcessEnv, args = ["inspect", path]): boolean => {
    const { stdout, stderr } = safetensorsProcess(args, env);
    return `${stdout}${stderr}`.includes("\u001b[");
  };
  assert.equal(escapes({}), false);
  assert.equal(escapes({ CI: "1" }), false);
  assert.equal(escapes({ FORCE_COLOR: "1" }), true);
  assert.equal(escapes({ FORCE_COLOR: "1" }, ["inspect", `${path}.missing`]), true);
  assert.equal(escapes({ FORCE_COLOR: "0" }), false);
  assert.equal(escapes({ FORCE_COLOR: "1", NO_COLOR: "1" }), false);
});
