import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { formatHubAddress, type HubAddress, parseHubAddress } from "../../src/hub/address.ts";
import { HubRepository } from "../../src/hub/repository.ts";
import { raises } from "../support.ts";

/** Address, type, repository, revision, path: as huggingface_hub's documentation of HF URIs has them. */
const VALID: readonly (readonly [string, HubAddress["type"], string, string | undefined, string])[] = [
  ["hf://my-org/my-model", "model", "my-org/my-model", undefined, ""],
  ["hf://models/my-org/my-model", "model", "my-org/my-model", undefined, ""],
  ["hf://models/my-org/my-model/config.json", "model", "my-org/my-model", undefined, "config.json"],
  ["hf://models/my-org/my-model@v1.0/config.json", "model", "my-org/my-model", "v1.0", "config.json"],
  ["hf://datasets/my-org/my-dataset", "dataset", "my-org/my-dataset", undefined, ""],
  ["hf://datasets/my-org/my-dataset@dev/a/b.csv", "dataset", "my-org/my-dataset", "dev", "a/b.csv"],
  ["hf://spaces/my-user/my-space", "space", "my-user/my-space", undefined, ""],
  ["hf://datasets/o/d@refs/pr/10/data.csv", "dataset", "o/d", "refs/pr/10", "data.csv"],
  [
    "hf://datasets/o/d@refs/convert/parquet-v2/0.parquet",
    "dataset",
    "o/d",
    "refs/convert/parquet-v2",
    "0.parquet",
  ],
  ["hf://o/m@refs/pr/1", "model", "o/m", "refs/pr/1", ""],
  ["hf://o/m@refs%2Fpr%2F1/file", "model", "o/m", "refs/pr/1", "file"],
  ["hf://o/m@feature%2Ffoo/file", "model", "o/m", "feature/foo", "file"],
  // An "@" behind the repository is part of a name; so is everything that only URLs would give a meaning.
  ["hf://o/m/file@1.txt", "model", "o/m", undefined, "file@1.txt"],
  ["hf://o/m@main/file@1.txt", "model", "o/m", "main", "file@1.txt"],
  ["hf://o/m/a b/c%20d?e#f:g", "model", "o/m", undefined, "a b/c%20d?e#f:g"],
  ["hf://o/m/folder/", "model", "o/m", undefined, "folder"],
  ["hf://o/m/", "model", "o/m", undefined, ""],
  // Models without an organisation.
  ["hf://gpt2", "model", "gpt2", undefined, ""],
  ["hf://gpt2@main/model.safetensors", "model", "gpt2", "main", "model.safetensors"],
  ["hf://datasets/squad@refs/convert/parquet/a", "dataset", "squad", "refs/convert/parquet", "a"],
  ["hf://gpt2/model.safetensors", "model", "gpt2/model.safetensors", undefined, ""],
];

const INVALID: readonly (readonly [string, RegExp])[] = [
  ["my-org/my-model", /begins with hf:/],
  ["", /begins with hf:/],
  ["https://huggingface.co/o/m", /begins with hf:/],
  ["HF://o/m", /begins with hf:/],
  ["hf://", /names no repository/],
  ["hf:///", /names no repository/],
  ["hf://datasets", /names no repository/],
  ["hf://models/", /names no repository/],
  ["hf://models/datasets/d", /names no repository/],
  ["hf://datasets@main/d", /names no repository/],
  ["hf://@main/file", /names no repository/],
  ["hf://dataset/o/m", /write "datasets\/" for "dataset\/"/],
  ["hf://model/o/m", /write "models\/"/],
  ["hf:///o/m", /no name of a repository/],
  ["hf://o//m", /no name of a repository/],
  ["hf://o/..", /no name of a repository/],
  ["hf://../m", /no name of a repository/],
  ["hf://o/m--n", /no name of a repository/],
  ["hf://o/m.git", /no name of a repository/],
  ["hf://o/-m", /no name of a repository/],
  ["hf://o/m.", /no name of a repository/],
  ["hf://o/m?x", /no name of a repository/],
  ["hf://o/m%2e", /no name of a repository/],
  ["hf://me:secret@host/x", /no name of a repository/],
  [`hf://o/${"m".repeat(97)}`, /no name of a repository/],
  ["hf://o/m@", /"" is no revision/],
  ["hf://o/m@/file", /"" is no revision/],
  ["hf://o/m@../file", /"\.\." is no revision/],
  ["hf://o/m@%2e%2e/file", /is no revision/],
  ["hf://o/m@a%2F../file", /is no revision/],
  ["hf://o/m@refs/convert/../file", /is no revision/],
  ["hf://o/m@%/file", /"%" is no revision/],
  ["hf://o/m@a b", /is no revision/],
  ["hf://o/m@refs/pr/1x/file", /slashes in a revision are written "%2F"/],
  ["hf://o/m@refs/heads/x/file", /slashes in a revision/],
  ["hf://o/m@a%00b", /is no revision/],
  ["hf://o/m@a@{1}", /is no revision/],
  ["hf://o/m@a.lock", /is no revision/],
  ["hf://o/m//file", /empty part/],
  ["hf://o/m//", /empty part/],
  ["hf://o/m@main//file", /empty part/],
  ["hf://o/m@main//", /empty part/],
  ["hf://o/m/a//b", /empty part/],
  ["hf://o/m/../x/file", /"\.\." cannot be part of a path/],
  ["hf://o/m/./file", /"\." cannot/],
  ["hf://o/m/a\\b", /cannot be part/],
  ["hf://o/m/a\nb", /cannot be part/],
  ["hf://o/m/a\u202eb", /cannot be part/],
  ["hf://o/m/\ud800", /not valid Unicode/],
];

describe("parseHubAddress", () => {
  for (const [address, type, repo, revision, path] of VALID) {
    it(`reads ${address}`, () => {
      assert.deepEqual(parseHubAddress(address), { type, repo, revision, path });
    });
  }

  for (const [address, message] of INVALID) {
    it(`refuses ${JSON.stringify(address.slice(0, 60))}`, () => {
      assert.throws(() => parseHubAddress(address), raises("IO", message));
    });
  }

  it("refuses what it does not read", () => {
    for (const what of ["buckets", "kernels"]) {
      assert.throws(
        () => parseHubAddress(`hf://${what}/o/n`),
        raises("UNSUPPORTED", /only models/, { kind: `hub-${what}` }),
      );
    }
  });

  const word = fc.stringMatching(/^[A-Za-z0-9_](?:[A-Za-z0-9_.]{0,20}[A-Za-z0-9_])?$/);
  const addresses: fc.Arbitrary<HubAddress> = fc
    .record(
      {
        type: fc.constantFrom<HubAddress["type"]>("model", "dataset", "space"),
        repo: fc.tuple(word, word).map((parts) => parts.join("/")),
        revision: fc.option(
          fc.oneof(
            fc.constantFrom("refs/pr/7", "refs/convert/a.b-c", "refs/heads/x", "a/b/c", "v1%2F2", "a@b", "ü"),
            word,
          ),
          { nil: undefined },
        ),
        path: fc
          .array(fc.stringMatching(/^[a-zA-Z0-9 @%?#:+é-][a-zA-Z0-9 .@%?#:+é-]{0,8}$/), { maxLength: 3 })
          .map((parts) => parts.join("/")),
      },
      { noNullPrototype: true },
    )
    .filter(({ repo, revision }) => !/\.\.|\.git$/.test(repo) && !/\.\.|\.lock$/.test(revision ?? ""));

  it("reads back what is written", () => {
    fc.assert(
      fc.property(addresses, (address) => {
        assert.deepEqual(parseHubAddress(formatHubAddress(address)), address);
      }),
      { seed: 42, numRuns: 500 },
    );
  });

  it("never fails in another way, and what it takes never leads out of the repository", () => {
    const pieces = fc.constantFrom(
      "hf://",
      "/",
      "@",
      ".",
      "..",
      "%2e",
      "%2F",
      "%",
      "a",
      "b",
      "c1",
      "models",
      "refs/pr/1",
      "?",
      "#",
      ":",
      "\\",
      "\0",
      "\ud800",
      "é",
    );
    const texts = fc.oneof(
      fc.array(pieces, { maxLength: 12 }).map((parts) => `hf://o/m${parts.join("")}`),
      fc.array(pieces, { maxLength: 12 }).map((parts) => `hf://${parts.join("")}`),
      fc.string({ unit: "binary" }),
    );
    let taken = 0;
    fc.assert(
      fc.property(texts, (text) => {
        let address: HubAddress;
        try {
          address = parseHubAddress(text);
        } catch (error) {
          assert.ok(
            error instanceof SafetensorsError && /^(IO|UNSUPPORTED)$/.test(error.code),
            String(error),
          );
          return;
        }
        taken++;
        const revision = address.revision ?? "main";
        const repository = new HubRepository(address, { endpoint: "https://hub.example/base" });
        const { page } = repository;
        const url = new URL(repository.fileUrl(revision, address.path));
        const parts = url.href.slice(`${page}/resolve/`.length).split("/");
        assert.ok(
          url.href.startsWith(`${page}/resolve/`) && page.startsWith("https://hub.example/base/"),
          url.href,
        );
        assert.deepEqual([url.search, url.hash], ["", ""]);
        assert.deepEqual(parts.map(decodeURIComponent), [revision, ...address.path.split("/")]);
      }),
      { seed: 42, numRuns: 3000 },
    );
    assert.ok(taken > 150, `${taken} addresses taken`);
  });
});
