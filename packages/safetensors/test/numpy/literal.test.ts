import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { type PythonLiteral, parseLiteral } from "../../src/numpy/literal.ts";
import { raises } from "../support.ts";

const { tree: literals } = fc.letrec<{ tree: PythonLiteral }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    fc.string({ unit: "binary" }),
    fc.maxSafeNat(),
    fc.boolean(),
    fc.array(tie("tree"), { maxLength: 4 }),
    fc.array(tie("tree"), { maxLength: 4 }).map((list) => ({ list })),
    fc.array(fc.tuple(fc.string(), tie("tree")), { maxLength: 4 }).map((entries) => new Map(entries)),
  ),
}));

/** As Python writes it, with spaces that `space` gives. */
function repr(value: PythonLiteral, space: () => string): string {
  const items = (list: readonly PythonLiteral[], close: string): string => {
    const texts = list.map((item) => space() + repr(item, space) + space());
    const comma = (close === ")" && list.length === 1) || (list.length > 0 && space() !== "") ? "," : "";
    return texts.join(",") + comma + space() + close;
  };
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return stringRepr(value, space() === "" ? "'" : '"');
  if (Array.isArray(value)) return `(${items(value, ")")}`;
  if ("list" in value) return `[${items(value.list, "]")}`;
  const entries = Array.from(value as ReadonlyMap<string, PythonLiteral>, ([key, item]) => {
    return `${space()}${stringRepr(key, "'")}${space()}:${repr(item, space)}${space()}`;
  });
  return `{${entries.join(",")}${space()}}`;
}

function stringRepr(text: string, mark: string): string {
  const escaped = Array.from(text, (character) => {
    const code = character.codePointAt(0)!;
    if (character === mark || character === "\\") return `\\${character}`;
    if (character === "\n") return "\\n";
    if (code < 0x20) return `\\x${code.toString(16).padStart(2, "0")}`;
    if (code > 0xffff && code % 2 === 0) return `\\U${code.toString(16).padStart(8, "0")}`;
    if (code > 0xff && code % 2 === 0) return `\\u${code.toString(16).padStart(4, "0")}`.slice(0, 6);
    return character;
  });
  return mark + escaped.join("") + mark;
}

test("what Python writes is read back", () => {
  const spaces = fc.infiniteStream(fc.constantFrom("", " ", "\n", "\t "));
  fc.assert(
    fc.property(literals, spaces, (value, stream) => {
      const text = repr(value, () => stream.next().value!);
      assert.deepEqual(parseLiteral(text), value);
    }),
    { seed: 42, numRuns: 500 },
  );
});

test("any text gives a literal or one of our errors", () => {
  const pieces = fc.constantFrom(
    ..."{}()[],:'\"\\ \nL019",
    "True",
    "False",
    "None",
    "\\x41",
    "\\u00",
    "-",
    "#",
  );
  let read = 0;
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      try {
        parseLiteral(parts.join(""));
        read++;
      } catch (error) {
        assert.ok(error instanceof SafetensorsError, String(error));
      }
    }),
    { seed: 42, numRuns: 5000 },
  );
  assert.ok(read > 20, `only ${read} were read`);
});

/** Each with what Python's own parser says of it; see `ast.literal_eval`. */
test("what is no literal, or one that no header needs, is refused with its place", () => {
  for (const [text, at, message] of [
    ["", 0, /unknown kind/],
    ["{", 1, /unknown kind/],
    ["{'a'}", 4, /lacks a colon/],
    ["{'a': 1 'b': 2}", 8, /comma or the end of a dict/],
    ["{1: 2}", 1, /key that is no string/],
    ["{,}", 1, /unknown kind/],
    ["(1 2)", 3, /lacks a comma or "\)"/],
    ["(1)", 3, /parentheses around no tuple/],
    ["(,)", 1, /unknown kind/],
    ["[1", 2, /lacks a comma or "\]"/],
    ["'a", 2, /string without an end/],
    ["'a\nb'", 2, /string without an end/],
    ["'a\"", 3, /string without an end/],
    ["'\\q'", 1, /unknown escape/],
    ["'\\x4'", 1, /unknown escape/],
    ["'\\U00110000'", 1, /beyond Unicode/],
    ["1 2", 2, /after its end/],
    ["True, False", 4, /after its end/],
    ["-1", 0, /unknown kind/],
    ["01", 0, /unknown kind/],
    ["1_0", 0, /unknown kind/],
    ["0x10", 0, /unknown kind/],
    ["1.0", 1, /after its end/],
    ["3L", 0, /unknown kind/],
    ["true", 0, /unknown kind/],
    ["None", 0, /unknown kind/],
    ["__import__('os')", 0, /unknown kind/],
    ["u'a'", 0, /unknown kind/],
    ["'a' 'b'", 4, /after its end/],
    ["# 1", 0, /unknown kind/],
  ] as const) {
    assert.throws(() => parseLiteral(text), raises("INVALID_HEADER", message, { at }), text);
  }
  assert.throws(() => parseLiteral("{'a': 1, 'a': 1}"), raises("DUPLICATE_KEY", /"a" twice/, { at: 9 }));
  assert.throws(() => parseLiteral("(9007199254740992,)"), raises("UNSAFE_INTEGER", /./, { at: 1 }));
  assert.throws(() => parseLiteral("9".repeat(10_000)), raises("UNSAFE_INTEGER"));
  assert.equal(parseLiteral("9007199254740991"), Number.MAX_SAFE_INTEGER);
});

test("whole numbers of Python 2 end in L, where they may", () => {
  assert.deepEqual(parseLiteral("(3L, 0L)", { longs: true }), [3, 0]);
  assert.throws(() => parseLiteral("3LL", { longs: true }), raises("INVALID_HEADER"));
  assert.throws(() => parseLiteral("L", { longs: true }), raises("INVALID_HEADER"));
});

test("deep nesting is refused", () => {
  for (const open of ["(", "[", "{'a':"]) {
    const details = { limit: "MAX_LITERAL_DEPTH" };
    assert.throws(() => parseLiteral(open.repeat(100_000)), raises("LIMIT_EXCEEDED", /deep/, details));
  }
  assert.doesNotThrow(() => parseLiteral("[".repeat(32) + "]".repeat(32)));
});
