import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";

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

/** Longest time that a run may take, in milliseconds. */
const PATIENCE = 120_000;

let thread: Worker | undefined;

/** Runs `safetensors` in a thread that stays for all runs of a test: to start a process takes longer than most of them. */
export function safetensors(args: readonly string[]): Run {
  const { answered, answers } = ask(args);
  if (Atomics.wait(answered, 0, 0, PATIENCE) === "timed-out") throw new Error(`no answer: ${args.join(" ")}`);
  const run: Run = receiveMessageOnPort(answers)?.message;
  answers.close();
  return run;
}

/** The same while this thread goes on, for example as a server; in an environment of its own, as a process. */
export async function runAsync(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Run> {
  if (env !== undefined) return processAsync(args, env);
  const { answers } = ask(args);
  const [run] = await once(answers, "message");
  answers.close();
  return run;
}

/** Hands a run to the thread, which is started with the first. Each run has a place of its own at which it is waited for. */
function ask(args: readonly string[]): { answered: Int32Array; answers: MessagePort } {
  thread ??= startThread();
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const { port1, port2 } = new MessageChannel();
  thread.postMessage({ args, answers: port2, answered }, [port2]);
  return { answered, answers: port1 };
}

function startThread(): Worker {
  const worker = new Worker(new URL("./command-thread.js", import.meta.url), { env: PLAIN_ENV });
  worker.unref();
  return worker;
}

/** Runs `safetensors` as its users do, in a process of its own. */
export function safetensorsProcess(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    encoding: "utf8",
    env: { ...PLAIN_ENV, ...env },
    maxBuffer: 1 << 28,
  });
  return { code: status, stdout, stderr };
}

async function processAsync(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Run> {
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
