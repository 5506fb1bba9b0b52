import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ErrorCode, ErrorDetails } from "../../src/errors.ts";
import { HeaderScanner } from "../../src/format/header-scanner.ts";
import { finishHeader, parseHeader } from "../../src/format/parse-header.ts";
import { raises } from "../support.ts";

const utf8 = new TextEncoder();

/** `[a, b]`: a U8 tensor at these data_offsets. */
const at = (begin: number, end: number): string =>
  `{"dtype":"U8","shape":[${Math.max(end - begin, 0)}],"data_offsets":[${begin},${end}]}`;

/** Where a marked place of a header is: the header without the mark, and the bytes before it. */
function marked(header: string): { json: Uint8Array; place: number | undefined } {
  const [before, after] = header.split("▼");
  if (after === undefined) return { json: utf8.encode(header), place: undefined };
  return { json: utf8.encode(before + after), place: utf8.encode(before).length };
}

type Case = readonly [header: string, message: RegExp, details?: Partial<ErrorDetails>];

/** In each header ▼ marks the place that the error has to name, both in `details.at` and in its text. */
const CASES: Readonly<Partial<Record<ErrorCode, readonly Case[]>>> = {
  INVALID_JSON: [
    ['{"a"▼', /expected ':' .* it ends there/],
    ['{"a":{"dtype":"U8" ▼"shape"}}', /expected ',' or '}'/],
    ["{▼a:1}", /expected a key in double quotes .* found 'a'/],
    [`{"a":${at(0, 0)},▼}`, /expected a key in double quotes .* found '}'/],
    [`{"a":${at(0, 0)}}▼x`, /expected nothing but white space after the header .* found 'x'/],
    [`{"a":${at(0, 0)}}▼\u0000`, /found byte 0x00/],
    [`{"a":${at(0, 0)}}▼\u000c`, /found byte 0x0c/],
    [`{"a":${at(0, 0)}}▼\u00a0`, /found byte 0xc2/],
    ["▼", /expected the header to be an object .* it ends there/],
    ["  \n▼", /expected the header to be an object .* it ends there/],
    ['{"a▼', /expected the end of a string .* it ends there/],
    ['{"a▼\n":1}', /expected no control character in a string .* found byte 0x0a/],
    ['{"a▼\\x":1}', /expected a known escape/],
    ['{"▼\\u12g4":1}', /four hexadecimal digits/],
    ['{"▼\\ud800":1}', /no lone surrogate/],
    ['{"▼\\ud800\\u0061":1}', /no lone surrogate/],
    ['{"▼\\udc00":1}', /no lone surrogate/],
    ['{"a":{"x":▼nul}}', /expected null/],
    ['{"a":{"x":▼tru', /expected true/],
    ['{"a":{"x":▼01}}', /expected a number/],
    ['{"a":{"x":▼-}}', /expected a number/],
    ['{"a":{"x":▼1e400}}', /within the range of a double/],
    ['{"a":{"x":[1 ▼2]}}', /expected ',' or ']'/],
    ['{"a":{"x":▼?}}', /expected a value/],
    [`{"a":{"x":${"[".repeat(125)}▼[`, /at most 127 levels of nesting/],
    ['{"__metadata__":{"a":"b"▼;}}', /expected ',' or '}'/],
  ],
  INVALID_HEADER: [
    ["▼[]", /expected the header to be an object .* found '\['/],
    ["▼\ufeff{}", /expected the header to be an object .* found byte 0xef/],
    ['{"a":▼3}', /expected the tensor's entry to be an object .* found '3'/],
    ['{"a":▼null}', /expected the tensor's entry to be an object/],
    ['{"a":{"shape":[],"data_offsets":[0,1]}▼}', /entry to have "dtype"/],
    ['{"a":{"dtype":"U8","data_offsets":[0,1]}▼}', /entry to have "shape"/],
    ['{"a":{"dtype":"U8","shape":[]}▼}', /entry to have "data_offsets"/],
    ['{"a":{"dtype":▼8}}', /the dtype to be a string/],
    ['{"a":{"shape":▼4}}', /the shape to be an array/],
    ['{"a":{"shape":[1,▼"4"]}}', /a dimension to be a whole number in plain digits .* found '"'/],
    ['{"a":{"shape":[▼-1]}}', /a dimension to be a whole number in plain digits .* found '-'/],
    ['{"a":{"shape":[▼1.0]}}', /a dimension to be a whole number in plain digits/],
    ['{"a":{"shape":[▼1e2]}}', /a dimension to be a whole number in plain digits/],
    ['{"a":{"shape":[▼01]}}', /a dimension to be a whole number in plain digits/],
    ['{"a":{"shape":[▼18446744073709551616]}}', /a dimension to be below 2\^64/],
    ['{"a":{"data_offsets":▼{}}}', /data_offsets to be an array/],
    ['{"a":{"data_offsets":[1]▼}}', /data_offsets to have two numbers/],
    ['{"a":{"data_offsets":[1,2,▼3]}}', /data_offsets to have two numbers/],
    ['{"a":{"data_offsets":[▼-0,1]}}', /the begin offset to be a whole number/],
    ['{"a":{"data_offsets":[0,▼true]}}', /the end offset to be a whole number/],
    ['{"__metadata__":▼[]}', /the metadata to be an object/],
    ['{"__metadata__":{"k":▼1}}', /metadata "k" to be a string .* found '1'/],
    [`{"a":▼["U8",[0],[0,0]]}`, /entry .* is an array, not an object/],
    [`{"a":{"dtype":▼{"U8":null},"shape":[0],"data_offsets":[0,0]}}`, /dtype .* is an object, not a string/],
  ],
  UNKNOWN_DTYPE: [
    ['{"a":{"dtype":"▼u8"}}', /"u8" .* is not one of BOOL, F4, .*, U64/],
    ['{"a":{"dtype":"▼F8_E4M3FN"}}', /"F8_E4M3FN"/],
    ['{"a":{"dtype":"▼\\u0055"}}', /"U"/],
    ['{"a":{"dtype":"▼"}}', /"" /],
  ],
  DUPLICATE_KEY: [
    ['{"a":{"dtype":"U8","dtype":▼"U8"}}', /"dtype" appears twice/],
    ['{"a":{"shape":[],"sh\\u0061pe":▼[]}}', /"shape" appears twice/],
    ['{"a":{"data_offsets":[0,0],"data_offsets":▼[0,0]}}', /"data_offsets" appears twice/],
    ['{"__metadata__":{},"▼__metadata__":{}}', /"__metadata__" appears twice/],
    ['{"__metadata__":null,"▼__m\\u0065tadata__":null}', /"__metadata__" appears twice/],
    ['{"__metadata__":{"k":"1","▼\\u006b":"2"}}', /metadata key "k" appears twice/],
  ],
  DUPLICATE_NAME: [
    [
      `{"a":${at(0, 1)},"▼a":${at(0, 1)}}`,
      /tensor "a" appears twice in the header \(bytes 2 and 54\)/,
      { tensor: "a" },
    ],
    [`{"":${at(0, 1)},"b":${at(1, 2)},"▼":${at(0, 1)}}`, /tensor "" appears twice/, { tensor: "" }],
  ],
  UNSAFE_INTEGER: [
    ['{"a":{"shape":[1,▼9007199254740992]}}', /dimension .* above 2\^53 - 1/],
    ['{"a":{"shape":[0,▼18446744073709551615]}}', /dimension .* above 2\^53 - 1/],
  ],
};

/** Faults of the layout. They concern a tensor, or the file as a whole. */
const LAYOUTS: Readonly<Partial<Record<ErrorCode, readonly (readonly [string, number, RegExp, string?])[]>>> =
  {
    INVALID_OFFSETS: [
      [
        `{"a":${at(1, 2)}}`,
        2,
        /"a" at data_offsets \[1, 2\] leaves a hole: the data before it ends at 0/,
        "a",
      ],
      [
        `{"a":${at(0, 2)},"b":${at(3, 4)}}`,
        4,
        /"b" at data_offsets \[3, 4\] leaves a hole: .* ends at 2/,
        "b",
      ],
      [`{"a":${at(0, 4)},"b":${at(3, 5)}}`, 5, /"b" at data_offsets \[3, 5\] overlaps .* ends at 4/, "b"],
      [`{"a":${at(0, 4)},"b":${at(0, 4)}}`, 4, /"b" at data_offsets \[0, 4\] overlaps .* ends at 4/, "b"],
      [`{"a":${at(0, 4)},"b":${at(2, 2)}}`, 4, /"b" at data_offsets \[2, 2\] overlaps .* ends at 4/, "b"],
      [`{"a":${at(0, 4)},"b":${at(4, 2)}}`, 4, /"b" at data_offsets \[4, 2\] ends before it begins/, "b"],
      [`{"b":${at(3, 4)},"a":${at(0, 2)}}`, 4, /"b" at data_offsets \[3, 4\] leaves a hole/, "b"],
      [
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[18446744073709551615,0]}}',
        0,
        /ends before it begins/,
        "a",
      ],
    ],
    SIZE_MISMATCH: [
      [
        '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}}',
        20,
        /"a" is F32 of shape \[2, 3\], which takes 24 bytes, but its data_offsets span 20/,
        "a",
      ],
      [
        '{"a":{"dtype":"F4","shape":[2,2],"data_offsets":[0,4]}}',
        4,
        /takes 2 bytes, but its data_offsets span 4/,
        "a",
      ],
      [
        '{"a":{"dtype":"U8","shape":[],"data_offsets":[0,0]}}',
        0,
        /U8 of shape \[\], which takes 1 bytes/,
        "a",
      ],
    ],
    MISALIGNED: [
      [
        '{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}',
        2,
        /"a" is F4 of shape \[3\].* whole byte/,
        "a",
      ],
      ['{"a":{"dtype":"F6_E3M2","shape":[2],"data_offsets":[0,2]}}', 2, /"a" is F6_E3M2 of shape \[2\]/, "a"],
    ],
    SIZE_OVERFLOW: [
      [
        '{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
        0,
        /"a" is U8 .* 64 bits/,
        "a",
      ],
      ['{"a":{"dtype":"U8","shape":[2305843009213693952],"data_offsets":[0,0]}}', 0, /./, "a"],
      ['{"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}', 0, /64 bits/, "a"],
    ],
    TRUNCATED: [
      [`{"a":${at(0, 8)}}`, 5, /3 bytes too short: its header describes 8 bytes of data, there are 5/],
      [`{"a":${at(0, 8)}}`, 0, /8 bytes too short/],
    ],
    TRAILING_BYTES: [
      [`{"a":${at(0, 8)}}`, 11, /3 bytes follow the last tensor, whose data ends at byte 8/],
      ["{}", 1, /1 bytes follow the last tensor/],
    ],
  };

describe("what is wrong with a header", () => {
  for (const [code, cases] of Object.entries(CASES) as [ErrorCode, readonly Case[]][]) {
    for (const [header, message, details] of cases) {
      it(`is ${code}: ${header.slice(0, 60)}`, () => {
        const { json, place } = marked(header);
        for (const fast of [false, true]) {
          const check = raises(code, message, { ...details, at: place! });
          assert.throws(() => finishHeader(new HeaderScanner(json, "strict", fast), 0), check);
          assert.throws(
            () => finishHeader(new HeaderScanner(json, "strict", fast), 0),
            new RegExp(`bytes?\\b.*\\b${place}\\b`),
          );
        }
      });
    }
  }

  for (const [code, cases] of Object.entries(LAYOUTS) as [ErrorCode, (typeof LAYOUTS)[ErrorCode] & {}][]) {
    for (const [header, dataLength, message, tensor] of cases) {
      it(`is ${code}: ${header.slice(0, 60)} with ${dataLength} bytes of data`, () => {
        const mode = code === "SIZE_OVERFLOW" ? "compat" : "strict";
        const check = raises(code, message, tensor === undefined ? {} : { tensor });
        assert.throws(() => parseHeader(utf8.encode(header), dataLength, { mode }), check);
      });
    }
  }

  for (const [name, bytes] of [
    ["a lead byte without its followers", [0xc3, 0x22]],
    ["a follower without a lead byte", [0x80]],
    ["an overlong form", [0xc0, 0xaf]],
    ["an encoded surrogate", [0xed, 0xa0, 0x80]],
    ["a number above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["0xff", [0xff]],
  ] as const) {
    it(`is INVALID_UTF8: ${name}, in a name, a key and a value`, () => {
      for (const header of [
        `{"b":${at(0, 0)},"é▼":${at(0, 0)}}`,
        '{"__metadata__":{"▼":""}}',
        '{"__metadata__":{"":"▼"}}',
      ]) {
        const [before, after] = header.split("▼").map((part) => utf8.encode(part));
        const json = Uint8Array.from([...before!, ...bytes, ...after!]);
        for (const fast of [false, true]) {
          const parse = () => finishHeader(new HeaderScanner(json, "strict", fast), 0);
          if (bytes[1] === 0x22) assert.throws(parse, /INVALID_(UTF8|JSON)/);
          else
            assert.throws(
              parse,
              raises("INVALID_UTF8", new RegExp(`byte ${before!.length} `), { at: before!.length }),
            );
        }
      }
    });
  }

  it("is shown without letting the file speak: names are quoted, escaped and cut", () => {
    const name = "a\u202e\n\u0000\u009b".padEnd(300, "x");
    const json = utf8.encode(`{${JSON.stringify(name)}:${at(1, 1)}}`);
    assert.throws(
      () => parseHeader(json, 1),
      (error: Error) => {
        assert.match(error.message, /"a\\u202e\\n\\u0000\\u009bx{195}…"/);
        return raises("INVALID_OFFSETS", /./, { tensor: name })(error);
      },
    );
  });

  it("is told in a text of bounded size", () => {
    const json = utf8.encode(`{"a":{"dtype":"U8","shape":[${"1,".repeat(1e5)}1],"data_offsets":[0,0]}}`);
    let length = 0;
    try {
      parseHeader(json, 0);
    } catch (error) {
      length = (error as Error).message.length;
    }
    assert.ok(length > 0 && length < 2000, `${length} characters`);
  });

  it("is found without much memory in a number of two million digits", () => {
    const json = utf8.encode(`{"a":{"x":${"1".repeat(2e6)}}}`);
    const before = process.memoryUsage().heapUsed;
    assert.throws(() => parseHeader(json, 0), raises("INVALID_JSON", /range of a double/));
    assert.ok(process.memoryUsage().heapUsed - before < 20e6);
  });
});

describe("compat mode", () => {
  const compat = (json: string, dataLength = 0) =>
    parseHeader(utf8.encode(json), dataLength, { mode: "compat" });

  it("lets the last of several names and metadata keys count", () => {
    const header = compat(`{"a":${at(7, 9)},"b":${at(0, 1)},"a":${at(1, 2)}}`, 2);
    assert.deepEqual(header.find("a")?.dataOffsets, [1, 2]);
    assert.deepEqual([...header.names()], ["b", "a"]);
    assert.equal(header.size, 2);
    assert.deepEqual([...compat('{"__metadata__":{"k":"1","k":"2"}}').metadata], [["k", "2"]]);
  });

  it("takes the two accidental forms and dimensions above 2^53", () => {
    assert.deepEqual(compat('{"a":["U8",[4],[0,4]]}', 4).find("a")?.shape, [4]);
    assert.equal(
      compat('{"a":{"dtype":{"U8":null},"shape":[0],"data_offsets":[0,0]}}').find("a")?.dtype,
      "U8",
    );
    const wide = compat('{"a":{"dtype":"U8","shape":[0,9007199254740993],"data_offsets":[0,0]}}');
    assert.deepEqual(wide.find("a")?.shape, [0, 2 ** 53]);
  });
});

describe("compat mode refuses", () => {
  for (const [header, message] of [
    ['{"a":{"dtype":{},"shape":[],"data_offsets":[0,1]}}', /the name of a dtype/],
    ['{"a":{"dtype":{"U8":1},"shape":[],"data_offsets":[0,1]}}', /the dtype to be one name with null/],
    [
      '{"a":{"dtype":{"U8":null,"U8":null},"shape":[],"data_offsets":[0,1]}}',
      /the dtype to be one name with null/,
    ],
    ['{"a":["U8",[]]}', /the tensor's entry to have three parts/],
    ['{"a":["U8",[],[0,1],1]}', /the tensor's entry to have three parts/],
    ['{"a":[]}', /the tensor's entry to have three parts/],
  ] as const) {
    it(header, () => {
      const parse = () => parseHeader(utf8.encode(header), 1, { mode: "compat" });
      assert.throws(parse, raises("INVALID_HEADER", message));
    });
  }
});

describe("lenient mode", () => {
  const lenient = (json: string, dataLength = 0) =>
    parseHeader(utf8.encode(json), dataLength, { mode: "lenient" });
  const codes = ({ problems }: { problems: readonly { code: string }[] }) => problems.map(({ code }) => code);

  it("lists every problem and returns the rest", () => {
    const header = lenient(
      `{"__metadata__":{"k":"1","k":"2"},"a":${at(0, 1)},"b":{"dtype":"F9","shape":[],"data_offsets":[0,0]},"c":5,` +
        `"d":${at(2, 3)},"d":${at(2, 3)},"e":{"dtype":"U16","shape":[2],"data_offsets":[3,4]}}`,
      9,
    );
    const expected = ["DUPLICATE_KEY", "UNKNOWN_DTYPE", "INVALID_HEADER", "DUPLICATE_NAME"];
    assert.deepEqual(codes(header), [...expected, "INVALID_OFFSETS", "SIZE_MISMATCH", "TRAILING_BYTES"]);
    assert.deepEqual([...header.names()], ["a", "d", "e"]);
    assert.deepEqual([...header.metadata], [["k", "2"]]);
    assert.deepEqual(header.find("e")?.shape, [2]);
    assert.equal(header.find("b"), undefined);
  });

  it("does not judge the layout where the JSON breaks off", () => {
    assert.deepEqual(codes(lenient(`{"a":${at(0, 4)},"b":{"dtype":"U8"`, 100)), ["INVALID_JSON"]);
  });

  it("tells once that the JSON breaks off", () => {
    assert.deepEqual(codes(lenient(`{"a":${at(0, 4)},"b":`, 100)), ["INVALID_JSON"]);
    assert.throws(() => parseHeader(new Uint8Array(0), 0), raises("INVALID_JSON", /it ends there/));
  });

  it("finds what it lists where the JSON breaks off", () => {
    const header = lenient(`{"a":${at(0, 4)},"b":`, 100);
    assert.deepEqual([...header.names()], ["a"]);
    assert.equal(header.find("a")?.name, "a");
    assert.equal([...header][0]?.name, "a");
  });

  it("names the tensor before a hole or an overlap", () => {
    const { problems } = lenient(`{"a":${at(0, 4)},"b":${at(3, 5)}}`, 5);
    assert.match(problems[0]!.message, /overlaps .*"a"/);
  });

  it("collects problems in bounded memory", () => {
    const bad = Array.from(
      { length: 5000 },
      (_, i) => `"${i}":{"dtype":"U8","shape":[1],"data_offsets":[0,0]}`,
    );
    assert.ok(lenient(`{${bad.join()}}`).problems.length <= 1000);
  });
});
