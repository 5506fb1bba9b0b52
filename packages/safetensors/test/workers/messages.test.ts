import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { range } from "../../src/view/index-items.ts";
import { type Job, receiveError, receiveJobs, sendError, sendJobs } from "../../src/workers/messages.ts";
import { raises } from "../support.ts";

const afterError = (error: unknown): Error => receiveError(structuredClone(sendError(error)));

describe("what is sent between threads", () => {
  it("keeps the code, the message and the details of an error, and the text of its cause", () => {
    const cause = Object.assign(new Error("no such disk"), { why: () => 0 });
    const details = { tensor: "a", file: "f", at: 7, cause };
    const error = afterError(new SafetensorsError("IO", "cannot read it", details));
    raises("IO", /^IO: cannot read it$/, { tensor: "a", file: "f", at: 7 })(error);
    assert.equal((error.cause as Error).message, "no such disk");
    assert.equal("cause" in afterError(new SafetensorsError("IO", "")), false);
    assert.deepEqual(afterError(new TypeError("odd")).message, "odd");
    assert.deepEqual(afterError("only text").message, "only text");
  });

  it("keeps jobs", () => {
    const job: Job = { name: "a", dtype: "F16", wholeBytes: 2 ** 40, slices: [], at: 8, length: 2 ** 33 };
    const jobs = [job, { ...job, name: "b", slices: [[1, range(2, null)], [range(0, 4)]] }];
    assert.deepEqual(receiveJobs(structuredClone(sendJobs(jobs))), jobs);
  });
});
