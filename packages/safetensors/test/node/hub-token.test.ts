import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { readHubToken } from "../../src/node/hub-token.ts";
import { raises, temporaryFolder } from "../support.ts";

const folder = temporaryFolder();

function write(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

describe("readHubToken", () => {
  it("looks where huggingface_hub does", async () => {
    const path = write("mine", "hf_path\n");
    write("home/token", "hf_home\r\n");
    write("cache/huggingface/token", "  hf_cache");
    const env = { HF_TOKEN_PATH: path, HF_HOME: join(folder, "home"), XDG_CACHE_HOME: join(folder, "cache") };
    assert.equal(await readHubToken(env), "hf_path");
    assert.equal(await readHubToken({ ...env, HF_TOKEN_PATH: "" }), "hf_home");
    assert.equal(await readHubToken({ ...env, HF_TOKEN_PATH: "", HF_HOME: undefined }), "hf_cache");
  });

  it("finds nothing where nobody is logged in", async () => {
    assert.equal(await readHubToken({ HF_HOME: join(folder, "nowhere") }), undefined);
    assert.equal(await readHubToken({ HF_TOKEN_PATH: write("empty", "\n") }), undefined);
  });

  it("takes ~ for the user's folder", async () => {
    await assert.rejects(readHubToken({ HF_TOKEN_PATH: "~" }), raises("IO", /./, { file: homedir() }));
  });

  it("fails when the file cannot be read", async () => {
    await assert.rejects(readHubToken({ HF_TOKEN_PATH: folder }), raises("IO", /cannot read the token in/));
  });
});
