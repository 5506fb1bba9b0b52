import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../../src/source/memory.ts";
import { FINDINGS, scan, toSarif } from "../../../src/torch/scan/index.ts";
import { fixture } from "../../fixtures.ts";

interface Result {
  readonly ruleId: string;
  readonly ruleIndex: number;
  readonly level: string;
  readonly message: { readonly text: string };
  readonly locations: readonly {
    readonly physicalLocation: {
      readonly artifactLocation: { readonly uri: string; readonly index: number };
      readonly region?: { readonly byteOffset: number };
    };
    readonly logicalLocations?: readonly { readonly fullyQualifiedName: string }[];
  }[];
}

interface Run {
  readonly tool: {
    readonly driver: { readonly name: string; readonly rules: readonly { readonly id: string }[] };
  };
  readonly artifacts: readonly { readonly location: { readonly uri: string } }[];
  readonly results: readonly Result[];
}

const reportOf = (file: string, as: string) => scan(fromBytes(fixture(file), as));

test("a SARIF log has a rule for each code and a result for each finding, with its place", async () => {
  const reports = [
    await reportOf("torch/os-system.pt", "models/os system.pt"),
    await reportOf("torch/state-dict.pt", "/models/good.pt"),
    await reportOf("torch/unknown-class.pt", "https://example.org/a b.pt"),
  ];
  const { version, runs, $schema } = JSON.parse(JSON.stringify(toSarif(reports, { version: "1.2.3" })));
  assert.equal(version, "2.1.0");
  assert.match($schema, /sarif-2\.1\.0/);
  assert.equal(runs.length, 1);
  const run = runs[0] as Run;
  assert.deepEqual(
    run.tool.driver.rules.map(({ id }) => id),
    Object.keys(FINDINGS),
  );
  assert.deepEqual(
    run.artifacts.map(({ location }) => location.uri),
    ["models/os%20system.pt", "file:///models/good.pt", "https://example.org/a%20b.pt"],
  );
  assert.equal(run.results.length, 2);
  const [evil, unknown] = run.results as [Result, Result];
  assert.deepEqual([evil.ruleId, evil.level], ["forbidden-global", "error"]);
  assert.deepEqual([unknown.ruleId, unknown.level], ["unknown-global", "warning"]);
  for (const { ruleId, ruleIndex, locations, message } of run.results) {
    assert.equal(run.tool.driver.rules[ruleIndex]!.id, ruleId);
    const [{ physicalLocation, logicalLocations }] = locations as [Result["locations"][number]];
    const { uri, index } = physicalLocation.artifactLocation;
    assert.equal(run.artifacts[index]!.location.uri, uri);
    assert.ok(physicalLocation.region!.byteOffset > 0);
    assert.match(logicalLocations![0]!.fullyQualifiedName, /data\.pkl$/);
    assert.match(message.text, /\.$/);
  }
});

test("a log says whether all files could be read", async () => {
  const broken = { size: 100, read: () => Promise.reject(new Error("no")), readInto: () => Promise.reject() };
  const reports = [
    await reportOf("torch/os-system.pt", "evil.pt"),
    await scan(broken, { file: "broken.pt" }),
  ];
  const isSuccess = (...some: typeof reports): unknown =>
    JSON.parse(JSON.stringify(toSarif(some))).runs[0].invocations[0].executionSuccessful;
  assert.equal(isSuccess(reports[0]!), true);
  assert.equal(isSuccess(...reports), false);
});

test("an empty log is one too", () => {
  const { runs } = toSarif([]);
  assert.deepEqual((runs[0] as Run).results, []);
});

const URIS: readonly (readonly [file: string, uri: string])[] = [
  ["a\ud800:%?#.pt", "a%EF%BF%BD%3A%25%3F%23.pt"],
  ["C:\\models\\a.pt", "C%3A/models/a.pt"],
  ["//host/a.pt", "file:////host/a.pt"],
  ["https://example.org/a%20b c%.pt", "https://example.org/a%20b%20c%25.pt"],
  ["https://[::1]:8080/a[0].pt?b=^|#d#e", "https://[::1]:8080/a%5B0%5D.pt?b=%5E%7C#d%23e"],
  ["hf://org/model", "hf://org/model"],
  ["http://a:b:c/d.pt", "http%3A//a%3Ab%3Ac/d.pt"],
  ["http://[a/d.pt", "http%3A//%5Ba/d.pt"],
];

for (const [file, uri] of URIS) {
  test(`the name of a file as a URI: ${JSON.stringify(file)}`, async () => {
    const [run] = toSarif([await reportOf("torch/os-system.pt", file)]).runs as readonly Run[];
    assert.equal(run!.artifacts[0]!.location.uri, uri);
    assert.equal(run!.results[0]!.locations[0]!.physicalLocation.artifactLocation.uri, uri);
  });
}
