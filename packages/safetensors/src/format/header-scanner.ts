import { DTYPE_INDEX, DTYPE_ORDER } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_PROBLEMS } from "../limits.ts";
import { CanonicalScanner } from "./canonical-scanner.ts";
import { JsonCursor } from "./json-cursor.ts";
import type { ReadMode } from "./mode.ts";
import { TensorTable } from "./tensor-table.ts";

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;
const TWO_TO_64 = 2n ** 64n;

const encoder = new TextEncoder();

/** Bits of `#fields`: which fields of the entry have been seen. */
const HAS_DTYPE = 1;
const HAS_SHAPE = 2;
const HAS_OFFSETS = 4;
const HAS_ALL = 7;

/**
 * Reads header JSON in one pass into a `TensorTable`. It checks syntax, types and names; whether the offsets fit
 * together is for `checkLayout`.
 */
export class HeaderScanner {
  readonly table: TensorTable;
  readonly metadata: Map<string, string> = new Map();
  readonly problems: SafetensorsError[] = [];
  readonly #cursor: JsonCursor;
  readonly #mode: ReadMode;
  readonly #canonical: CanonicalScanner | undefined;
  #metadataSeen = false;
  // The entry being read.
  #fields = 0;
  #dtype = 0;
  #shapeAt = 0;
  #elements = 0;
  #begin = 0;
  #end = 0;

  /** @param fast whether runs of canonical entries are read by `CanonicalScanner`; the result is the same. */
  constructor(json: Uint8Array, mode: ReadMode, fast: boolean = true) {
    this.#cursor = new JsonCursor(json);
    this.#mode = mode;
    this.table = new TensorTable(json);
    this.#canonical = fast ? new CanonicalScanner(this.table) : undefined;
  }

  /** Reads the whole header; false if (in lenient mode) it had to stop before the end. */
  scan(): boolean {
    const isWhole = this.attempt(() => this.#readMembers());
    return this.attempt(() => this.#indexNames()) && isWhole;
  }

  /** Runs a step. In lenient mode an error of it is kept as a problem; the result tells whether there was none. */
  attempt(step: () => void): boolean {
    try {
      step();
      return true;
    } catch (error) {
      if (this.#mode !== "lenient" || !(error instanceof SafetensorsError)) throw error;
      this.problems.push(error);
      return false;
    }
  }

  /** Throws the error; in lenient mode only when there are too many of them. */
  report(error: SafetensorsError): void {
    if (this.#mode !== "lenient") throw error;
    if (this.problems.length >= MAX_PROBLEMS - 1) {
      throw new SafetensorsError("LIMIT_EXCEEDED", `there are ${MAX_PROBLEMS} problems or more`, {
        limit: "MAX_PROBLEMS",
      });
    }
    this.problems.push(error);
  }

  #readMembers(): void {
    const cursor = this.#cursor;
    cursor.beginObject("the header");
    for (let first = true; ; first = false) {
      const known = this.table.count;
      if (this.#canonical) cursor.at = this.#canonical.scan(cursor.at, first);
      if (!cursor.nextKey(first && this.table.count === known)) break;
      this.#member();
    }
    if (cursor.peek() !== -1) cursor.malformed("nothing but white space after the header");
  }

  /** One member of the header object; its key is the cursor's last string. */
  #member(): void {
    const cursor = this.#cursor;
    const { stringStart, stringEnd, at } = cursor;
    if (cursor.is("__metadata__")) return this.#readMetadata(stringStart);
    try {
      const decoded = cursor.stringEscaped ? encoder.encode(cursor.text()) : undefined;
      this.#readEntry();
      this.table.add(
        stringStart,
        stringEnd,
        this.#dtype,
        this.#shapeAt,
        this.#elements,
        this.#begin,
        this.#end,
      );
      if (decoded) this.table.setDecodedName(decoded);
    } catch (error) {
      // Where the JSON itself is broken, nothing after it can be read.
      if (!(error instanceof SafetensorsError) || /JSON|UTF8/.test(error.code)) throw error;
      const tensor = cursor.textOf(stringStart, stringEnd);
      this.report(
        new SafetensorsError(error.code, `${error.reason} (tensor ${quote(tensor)})`, {
          ...error.details,
          tensor,
        }),
      );
      cursor.at = at;
      cursor.skipValue(1);
    }
  }

  #indexNames(): void {
    const cursor = this.#cursor;
    const { table } = this;
    const names = table.indexNames((row, earlier) => {
      const name = table.name(row);
      const places = `bytes ${table.nameStart[earlier]} and ${table.nameStart[row]}`;
      const text = `tensor ${quote(name)} appears twice in the header (${places})`;
      this.#tolerate("DUPLICATE_NAME", text, table.nameStart[row]!, name);
    });
    if (names.controlAt >= 0) cursor.controlCharacter(names.controlAt);
    cursor.ascii &&= names.ascii;
    cursor.checkUtf8();
    if (!cursor.ascii) table.plainNames = false;
  }

  #readMetadata(keyAt: number): void {
    const cursor = this.#cursor;
    if (this.#metadataSeen) {
      throw new SafetensorsError(
        "DUPLICATE_KEY",
        `"__metadata__" appears twice in the header (again at byte ${keyAt})`,
        {
          at: keyAt,
        },
      );
    }
    this.#metadataSeen = true;
    if (cursor.acceptNull()) return;
    cursor.beginObject("the metadata");
    for (let first = true; cursor.nextKey(first); first = false) {
      const at = cursor.stringStart;
      const key = cursor.text();
      if (this.metadata.has(key)) {
        this.#tolerate("DUPLICATE_KEY", `metadata key ${quote(key)} appears twice (again at byte ${at})`, at);
      }
      cursor.string(`metadata ${quote(key)} to be a string`);
      this.metadata.set(key, cursor.text());
    }
  }

  #readEntry(): void {
    const cursor = this.#cursor;
    this.#fields = 0;
    if (cursor.peek() === OPEN_BRACKET) return this.#readEntryArray();
    cursor.beginObject("the tensor's entry");
    for (let first = true; cursor.nextKey(first); first = false) {
      if (cursor.is("dtype")) this.#readDtype();
      else if (cursor.is("shape")) this.#readShape();
      else if (cursor.is("data_offsets")) this.#readOffsets();
      else cursor.skipValue(2);
    }
    if (this.#fields !== HAS_ALL) {
      const missing =
        this.#fields & HAS_DTYPE ? (this.#fields & HAS_SHAPE ? "data_offsets" : "shape") : "dtype";
      cursor.mismatch(`the tensor's entry to have "${missing}" before its end`);
    }
  }

  /** `["U8",[4],[0,4]]`: a form that the reference takes by accident. */
  #readEntryArray(): void {
    const cursor = this.#cursor;
    this.#tolerate(
      "INVALID_HEADER",
      `the tensor's entry at byte ${cursor.at} is an array, not an object`,
      cursor.at,
    );
    cursor.beginArray("the tensor's entry");
    const parts = [() => this.#readDtype(), () => this.#readShape(), () => this.#readOffsets()];
    let count = 0;
    for (; cursor.nextItem(count === 0); count++) {
      const read = parts[count];
      if (!read) return cursor.mismatch("the tensor's entry to have three parts");
      read();
    }
    if (count !== parts.length) cursor.mismatch("the tensor's entry to have three parts");
  }

  #readDtype(): void {
    const cursor = this.#cursor;
    this.#mark(HAS_DTYPE, "dtype");
    const asObject = cursor.peek() === OPEN_BRACE;
    if (asObject) {
      // `{"U8":null}`: the other accident.
      this.#tolerate(
        "INVALID_HEADER",
        `the dtype at byte ${cursor.at} is an object, not a string`,
        cursor.at,
      );
      cursor.beginObject("the dtype");
      if (!cursor.nextKey(true)) cursor.mismatch("the name of a dtype");
    } else {
      cursor.string("the dtype to be a string");
    }
    const dtype = DTYPE_INDEX.get(cursor.text());
    if (dtype === undefined) {
      throw new SafetensorsError(
        "UNKNOWN_DTYPE",
        `${quote(cursor.text())} at byte ${cursor.stringStart} is not one of ${DTYPE_ORDER.join(", ")}`,
        { at: cursor.stringStart },
      );
    }
    this.#dtype = dtype;
    if (asObject && (!cursor.acceptNull() || cursor.nextKey(false)))
      cursor.mismatch("the dtype to be one name with null");
  }

  #readShape(): void {
    const cursor = this.#cursor;
    this.#mark(HAS_SHAPE, "shape");
    cursor.beginArray("the shape");
    this.#shapeAt = cursor.at - 1;
    let elements = 1;
    for (let first = true; cursor.nextItem(first); first = false) {
      const at = cursor.at;
      const size = cursor.integer("a dimension");
      if (size > Number.MAX_SAFE_INTEGER) {
        this.#tolerate("UNSAFE_INTEGER", `the dimension at byte ${at} is above 2^53 - 1`, at);
      }
      elements *= size;
      // Doubles no longer tell here; the exact product decides, as zero may follow.
      if (elements > Number.MAX_SAFE_INTEGER || size > Number.MAX_SAFE_INTEGER) elements = Number.NaN;
    }
    this.#elements = Number.isNaN(elements) ? exactElements(cursor.bytes, this.#shapeAt) : elements;
  }

  #readOffsets(): void {
    const cursor = this.#cursor;
    this.#mark(HAS_OFFSETS, "data_offsets");
    cursor.beginArray("data_offsets");
    if (!cursor.nextItem(true)) cursor.mismatch("data_offsets to have two numbers");
    this.#begin = cursor.integer("the begin offset");
    if (!cursor.nextItem(false)) cursor.mismatch("data_offsets to have two numbers");
    this.#end = cursor.integer("the end offset");
    if (cursor.nextItem(false)) cursor.mismatch("data_offsets to have two numbers");
  }

  #mark(field: number, name: string): void {
    if (this.#fields & field) {
      throw new SafetensorsError(
        "DUPLICATE_KEY",
        `"${name}" appears twice in one tensor's entry (byte ${this.#cursor.at})`,
        {
          at: this.#cursor.at,
        },
      );
    }
    this.#fields |= field;
  }

  /** What the reference lets pass: an error in strict mode, a remark in lenient mode, nothing in compat mode. */
  #tolerate(code: SafetensorsError["code"], message: string, at: number, tensor?: string): void {
    if (this.#mode === "compat") return;
    this.report(new SafetensorsError(code, message, tensor === undefined ? { at } : { at, tensor }));
  }
}

/**
 * Product of the dimensions from left to right, as the reference computes it: Infinity as soon as it leaves 64 bits,
 * even if a zero follows.
 */
function exactElements(json: Uint8Array, shapeAt: number): number {
  const end = json.indexOf(0x5d, shapeAt);
  let product = 1n;
  for (const digits of new TextDecoder().decode(json.subarray(shapeAt + 1, end)).split(",")) {
    product *= BigInt(digits.trim());
    if (product >= TWO_TO_64) return Number.POSITIVE_INFINITY;
  }
  return Number(product);
}
