import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { runAsync, safetensors, temporaryFolder, torchFixture } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

const POSIX_ONLY = { skip: process.platform === "win32" };

const good = torchFixture("state-dict.pt");
const evil = torchFixture("os-system.pt");
const unknown = torchFixture("unknown-class.pt");

test("scan exits with 0 for clean, 1 for dangerous, 2 for what is not understood", () => {
  assert.equal(safetensors(["scan", good]).code, 0);
  assert.equal(safetensors(["scan", evil]).code, 1);
  assert.equal(safetensors(["scan", unknown]).code, 2);
  assert.equal(safetensors(["scan", "missing.pt"]).code, 2);
  assert.equal(safetensors(["scan", "missing.pt", evil, good]).code, 1);
  assert.equal(safetensors(["scan", good, unknown]).code, 2);
  assert.equal(safetensors(["scan"]).code, 2);
});

test("scan says what was found, where, and what is asked for", () => {
  const { stdout, stderr } = safetensors(["scan", evil, good]);
  assert.equal(stderr, "");
  assert.match(stdout, /os-system\.pt: dangerous {2}\d+ Python names? asked for\n/);
  assert.match(
    stdout,
    /forbidden-global: names "os\.system", which runs programs, and calls it \(os-system\/data\.pkl, byte 174: GLOBAL "os\.system"\)/,
  );
  assert.match(stdout, /forbidden +called +os\.system +in os-system\/data\.pkl/);
  assert.match(stdout, /state-dict\.pt: clean/);
  assert.match(stdout, /\n\n1 clean, 1 dangerous\n$/);
  assert.doesNotMatch(stdout, /_rebuild_tensor_v2.*\n.*state-dict/);
  assert.match(
    safetensors(["scan", good, "--globals"]).stdout,
    /interpreted +called +torch\._utils\._rebuild_tensor_v2/,
  );
});

test("scan of a folder takes all files below it, whatever they are called", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "a", "b"), { recursive: true });
  mkdirSync(join(folder, ".git"));
  cpSync(evil, join(folder, "a", "b", "notes.txt"));
  cpSync(evil, join(folder, ".git", "object"));
  cpSync(good, join(folder, "model.bin"));
  writeFileSync(join(folder, "README.md"), "# A model\n");
  writeHeader(join(folder, "model.safetensors"), ...evenHeader(["a"]));
  symlinkSync(join(folder, "model.bin"), join(folder, "link.pt"));
  symlinkSync(folder, join(folder, "loop"));
  const { code, stdout } = safetensors(["scan", folder, "--json"]);
  assert.equal(code, 1);
  const { results, summary } = JSON.parse(stdout);
  assert.deepEqual(summary, { clean: 4, dangerous: 1, incomplete: 0 });
  assert.deepEqual(
    results.map(({ file, verdict }: { file: string; verdict: string }) => [
      file.slice(folder.length + 1),
      verdict,
    ]),
    [
      ["README.md", "clean"],
      ["link.pt", "clean"],
      ["model.bin", "clean"],
      ["model.safetensors", "clean"],
      [join("a", "b", "notes.txt"), "dangerous"],
    ],
  );
  const quiet = safetensors(["scan", folder, "--quiet"]);
  assert.match(quiet.stdout, /^[^\n]*notes\.txt: dangerous/);
  assert.doesNotMatch(quiet.stdout, /clean/);
  assert.equal(safetensors(["scan", join(folder, "*.bin"), "--quiet"]).stdout, "");
});

/** What a scan says of each file, by its path in the folder. */
function verdictsIn(folder: string): { code: number | null; verdicts: [string, string][] } {
  const { code, stdout } = safetensors(["scan", folder, "--json"]);
  const { results } = JSON.parse(stdout) as { results: { file: string; verdict: string }[] };
  return { code, verdicts: results.map(({ file, verdict }) => [file.slice(folder.length + 1), verdict]) };
}

test("scan of a folder goes through links to folders, to each folder once", (t) => {
  const [folder, elsewhere] = [temporaryFolder(t), temporaryFolder(t)];
  mkdirSync(join(folder, "a"));
  mkdirSync(join(folder, "b"));
  mkdirSync(join(elsewhere, "in"));
  cpSync(good, join(folder, "b", "good.pt"));
  cpSync(evil, join(elsewhere, "in", "evil.pt"));
  symlinkSync(elsewhere, join(folder, "a", "first"));
  symlinkSync(join(elsewhere, "in"), join(folder, "second"));
  symlinkSync(join(folder, "b"), join(folder, "a", "also-b"));
  symlinkSync(folder, join(elsewhere, "in", "back"));
  assert.deepEqual(verdictsIn(folder), {
    code: 1,
    verdicts: [
      [join("b", "good.pt"), "clean"],
      [join("second", "evil.pt"), "dangerous"],
    ],
  });
});

test("scan of a folder calls nothing clean that it could not look into", POSIX_ONLY, (t) => {
  const folder = temporaryFolder(t);
  cpSync(good, join(folder, "good.pt"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  symlinkSync("/dev/null", join(folder, "device"));
  symlinkSync("nowhere", join(folder, "dangling"));
  symlinkSync("itself", join(folder, "itself"));
  assert.deepEqual(verdictsIn(folder), {
    code: 2,
    verdicts: [
      ["dangling", "incomplete"],
      ["device", "incomplete"],
      ["good.pt", "clean"],
      ["itself", "incomplete"],
      ["pipe", "incomplete"],
    ],
  });
});

test("scan goes on after a folder that it may not list", POSIX_ONLY, (t) => {
  if (process.getuid?.() === 0) return t.skip("root may list any folder");
  const folder = temporaryFolder(t);
  for (const name of ["closed", "open"]) mkdirSync(join(folder, name));
  cpSync(evil, join(folder, "open", "evil.pt"));
  chmodSync(join(folder, "closed"), 0);
  const { code, verdicts } = verdictsIn(folder);
  chmodSync(join(folder, "closed"), 0o755);
  assert.deepEqual(
    [code, verdicts],
    [
      1,
      [
        ["closed", "incomplete"],
        [join("open", "evil.pt"), "dangerous"],
      ],
    ],
  );
});

test("scan takes a pattern that matches nothing for a file that is missing, and scans the others", (t) => {
  const pattern = join(temporaryFolder(t), "*.nope");
  const { code, stdout } = safetensors(["scan", pattern, evil, "--json"]);
  assert.equal(code, 1);
  const [first, second] = JSON.parse(stdout).results;
  assert.deepEqual(
    [first.file, first.verdict, first.findings[0].code],
    [pattern, "incomplete", "unreadable"],
  );
  assert.match(first.findings[0].message, /nothing matches/);
  assert.equal(second.verdict, "dangerous");
  assert.equal(safetensors(["scan", good, pattern]).code, 2);
});

test("scan --json has the whole report", () => {
  const { results } = JSON.parse(safetensors(["scan", evil, "missing.pt", "--json"]).stdout);
  const [first, second] = results;
  assert.equal(first.findings[0].code, "forbidden-global");
  assert.equal(first.findings[0].global, "os.system");
  assert.equal(first.findings[0].severity, "dangerous");
  assert.ok(first.findings[0].fileOffset > 0);
  assert.deepEqual(
    first.globals.find(({ name }: { name: string }) => name === "os.system").role,
    "forbidden",
  );
  assert.ok(first.traffic.bytes > 0);
  assert.deepEqual([second.verdict, second.findings[0].code], ["incomplete", "unreadable"]);
});

test("scan --sarif prints a log of all files", () => {
  const { code, stdout } = safetensors(["scan", evil, good, "missing.pt", "--sarif"]);
  assert.equal(code, 1);
  const log = JSON.parse(stdout);
  assert.equal(log.version, "2.1.0");
  assert.match(log.runs[0].tool.driver.version, /^\d+\.\d+\.\d+/);
  assert.deepEqual(
    log.runs[0].results.map(({ ruleId, level }: { ruleId: string; level: string }) => [ruleId, level]),
    [
      ["forbidden-global", "error"],
      ["unreadable", "warning"],
    ],
  );
  const isSuccess = (text: string): boolean => JSON.parse(text).runs[0].invocations[0].executionSuccessful;
  assert.equal(isSuccess(stdout), false);
  assert.equal(isSuccess(safetensors(["scan", evil, unknown, "--sarif"]).stdout), true);
});

test("scan of an address reads only what it needs", async (t) => {
  const file = readFileSync(good);
  const server = createServer((request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const [start, end] = [Number(from), Math.min(Number(to), file.length - 1)];
    response.writeHead(206, { "content-range": `bytes ${start}-${end}/${file.length}`, etag: '"x"' });
    response.end(file.subarray(start, end + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.pt`;
  const { code, stdout, stderr } = await runAsync(["scan", url, "--verbose"]);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /model\.pt: clean/);
  assert.match(stderr, /read [\d,]+ bytes in \d+ requests?/);
});

test("names in a file cannot steer the terminal", (t) => {
  const path = join(temporaryFolder(t), "evil.pkl");
  writeFileSync(path, Buffer.from("\x80\x02cos\n\x1b[31msystem\u202e\n.", "utf8").subarray(1));
  const { code, stdout } = safetensors(["scan", path]);
  assert.equal(code, 1);
  assert.match(stdout, /\\u001b\[31msystem/);
  assert.ok(!stdout.includes("\u001b") && !stdout.includes("\u202e"));
});
