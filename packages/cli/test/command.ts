import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** The command itself. */
export const BIN: string = fileURLToPath(new URL("../../bin/safetensors.js", import.meta.url));
const FIXTURES: string = fileURLToPath(new URL("../../../safetensors/test/fixtures/", import.meta.url));

/** What a run of the command left behind. */
export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Environment in which nothing turns colours on or off. */
const PLAIN_ENV: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: undefined, FORCE_COLOR: undefined };

/** Runs `safetensors` as its users do, in a process of its own. */
export function safetensors(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    encoding: "utf8",
    env: { ...PLAIN_ENV, ...env },
    maxBuffer: 1 << 28,
  });
  return { code: status, stdout, stderr };
}

/** Runs `safetensors` while this process goes on, for example as a server. */
export async function runAsync(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
  const child = spawn(process.execPath, [BIN, ...args], { stdio: "pipe", env: { ...PLAIN_ENV, ...env } });
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.on("close", resolve)),
  ]);
  return { code, stdout, stderr };
}

/** Starts `safetensors` and does not wait for it. */
export function startSafetensors(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [BIN, ...args], { stdio: "pipe", env: PLAIN_ENV });
}

/** An empty folder that goes away with the test. */
export function temporaryFolder(test: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "safetensors-cli-"));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Path of a PyTorch fixture. */
export function torchFixture(name: string): string {
  return join(FIXTURES, "torch", name);
}

/** Copies a PyTorch fixture (a file or a folder) into `folder` and gives its path there. */
export function copyTorch(name: string, folder: string, as: string = name): string {
  const path = join(folder, as);
  cpSync(torchFixture(name), path, { recursive: true });
  return path;
}

/** A tensor as torch itself found it in a fixture. */
export interface ExpectedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

/** What torch found in a fixture. */
export interface Expected {
  readonly tensors: readonly ExpectedTensor[];
  readonly globals: readonly string[];
  readonly aliases: readonly (readonly string[])[];
  readonly refused?: string;
}

/** What torch found in each fixture. */
export function expectedOf(file: string): Expected {
  return JSON.parse(readFileSync(torchFixture("expected.json"), "utf8"))[file];
}

/** All names in a folder, hidden ones too. */
export function namesIn(folder: string): string[] {
  return readdirSync(folder).sort();
}
