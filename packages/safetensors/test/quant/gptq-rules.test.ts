import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ModuleRules } from "../../src/quant/schemes/gptq-rules.ts";
import { Pattern } from "../../src/quant/schemes/pattern.ts";
import { found, gptqLayer } from "./gptq-layers.ts";

const matches = (text: string, name: string, anywhere?: boolean): boolean =>
  new Pattern(text, anywhere).matches(name, { left: 1e6 });

describe("patterns of modules", () => {
  it("match what regular expressions match", () => {
    const { pattern } = fc.letrec<{ pattern: string; atom: string }>((tie) => ({
      pattern: fc
        .array(
          fc
            .tuple(tie("atom"), fc.constantFrom("", "", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"))
            .map(([atom, times]) => (atom === "^" || atom === "$" ? atom : atom + times)),
          { maxLength: 4 },
        )
        .map((parts) => parts.join("")),
      atom: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom("a", "b", ".", "\\.", "[ab]", "[^a]", "[0-9.]", "\\d", "\\W", "[\\w-]", "^", "$"),
        tie("pattern").map((inner) => `(?:${inner})`),
        fc.tuple(tie("pattern"), tie("pattern")).map((ways) => `(${ways.join("|")})`),
      ),
    }));
    const name = fc.string({ unit: fc.constantFrom("a", "b", ".", "1", "-"), maxLength: 8 });
    const property = fc.property(pattern, name, (text, name) => {
      assert.equal(matches(text, name), new RegExp(`^(?:${text})`).test(name), `${text} ${name}`);
      assert.equal(matches(text, name, true), new RegExp(text).test(name), `${text} ${name}`);
    });
    fc.assert(property, { seed: 42, numRuns: 400 });
  });

  it("take no more time than they are long", () => {
    assert.equal(matches("(a+)+$", `${"a".repeat(200)}b`), false);
    assert.equal(matches("(a|a)*(a|aa)*.*.*.*.*.*$b", "a".repeat(200)), false);
    assert.equal(new Pattern("(.*)*x").matches("a".repeat(900), { left: 100 }), false);
  });

  it("are refused where they are not known, or too large", () => {
    for (const wrong of [
      "(",
      ")",
      "[a",
      "a**",
      "*",
      "\\b",
      "\\1",
      "(?=a)",
      "(?<n>a)",
      "\\",
      "a{2}{2}",
      "a{3,2}",
      "[b-a]",
    ])
      assert.throws(() => new Pattern(wrong), SyntaxError, wrong);
    for (const large of ["(a{1000}){1000}", "((){9999}){9999}", "(".repeat(99), "a{0,9999}"])
      assert.throws(() => new Pattern(large), SyntaxError, large);
  });
});

describe("rules for modules", () => {
  const told: string[] = [];
  const dynamic = (rules: Record<string, unknown>): ModuleRules =>
    ModuleRules.ofDynamic(new Map(Object.entries(rules)), (text) => told.push(text));

  it("count from the start of the name, those that skip first", () => {
    const rules = dynamic({
      "+:.*up_proj": { bits: 8 },
      model: { bits: 3 },
      "-:.*\\.0\\..*": {},
      "^lm_head$": { bits: 2 },
    });
    assert.deepEqual(rules.of("model.1.up_proj"), new Map([["bits", 8]]));
    assert.deepEqual(rules.of("model.1.down_proj"), new Map([["bits", 3]]));
    assert.equal(rules.of("model.0.up_proj"), "skip");
    assert.deepEqual(rules.of("lm_head"), new Map([["bits", 2]]));
    assert.equal(rules.of("lm_head.a"), undefined);
    assert.deepEqual(told, []);
  });

  it("are told of, if they cannot be followed", () => {
    dynamic({ "a(": {}, b: 3 });
    assert.match(told.shift()!, /rule "a\(" has a group that is not closed/);
    assert.match(told.shift()!, /rule "b" has no settings/);
    assert.equal(told.length, 0);
  });

  it("change bits and groups of some layers, and say of none that it is not quantised", async () => {
    const tensors = {
      ...gptqLayer("model.0.up", { zero: () => 7 }),
      ...gptqLayer("model.1.up", { zero: () => 127, bits: 8, group: 64 }),
    };
    const config = {
      quant_method: "gptq",
      bits: 4,
      group_size: 32,
      dynamic: { "-:model\\.0.*": {}, ".*\\.1\\..*": { bits: 8, group_size: 64 } },
    };
    const { weights, problems } = await found(tensors, config);
    assert.deepEqual(
      Array.from(weights.values(), ({ bits, group }) => [bits, ...group]),
      [
        [4, 32],
        [8, 64],
      ],
    );
    assert.match(problems.map(({ name, text }) => `${name} ${text}`).join(), /^model.0.up .* not quantised/);
  });
});
