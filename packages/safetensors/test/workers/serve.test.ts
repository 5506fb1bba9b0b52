import assert from "node:assert/strict";
import { it } from "node:test";
import { type FromWorker, type Job, receiveError, sendJobs } from "../../src/workers/messages.ts";
import { PoolServer } from "../../src/workers/serve.ts";
import { handMade, raises } from "../support.ts";
import { tensorOf } from "./checkpoints.ts";

it("a worker does not read a tensor that is not the one the pool knows", async () => {
  const sent: FromWorker[] = [];
  const server = new PoolServer((message) => sent.push(message));
  const input = { kind: "bytes", bytes: handMade({ a: tensorOf("F16", [3, 2]) }) } as const;
  await server.receive({ kind: "open", input, mode: undefined, wantsIndex: false });
  const job: Job = { name: "a", dtype: "F16", wholeBytes: 12, slices: [], at: 0, length: 12 };
  const memory = new SharedArrayBuffer(16);
  for (const [batch, other] of [{}, { dtype: "BF16" }, { wholeBytes: 14 }].entries()) {
    const jobs = sendJobs([{ ...job, ...other } as Job]);
    await server.receive({ kind: "run", batch, call: 0, form: "bytes", memory, isNew: true, jobs });
  }
  const [opened, read, ...failed] = sent;
  assert.deepEqual(opened, { kind: "opened", index: undefined });
  assert.deepEqual(read, { kind: "done", batch: 0 });
  assert.equal(failed.length, 2);
  for (const message of failed) {
    assert.ok(message.kind === "failed");
    assert.ok(raises("SOURCE_CHANGED", /"a"/, { tensor: "a" })(receiveError(message.error)));
  }
});
