import { SafetensorsError } from "../../errors.ts";
import { MAX_PICKLE_DIGITS, MAX_PICKLE_LONG_BYTES } from "../../limits.ts";
import { MAX_PICKLE_MEMORY, MAX_PICKLE_TEXT_BYTES } from "../limits.ts";
import { TEXT, TEXT_BYTE, VIEW } from "./costs.ts";
import { OPCODE_NAMES } from "./opcodes.ts";
import {
  decodeLatin1,
  decodeLong,
  decodeUtf8,
  parseFloat10,
  parseInt10,
  parseQuoted,
  parseRawUnicode,
} from "./text.ts";

/**
 * A cursor over the bytes of a pickle that never goes past their end, nor past the end of the frame it is in. Every
 * length is checked against what remains before anything is made of it.
 */
export class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Where reading must stop: the end of the frame, or of the pickle outside of frames. */
  #end: number;
  #inFrame = false;
  #at: number;
  #memoryLeft = MAX_PICKLE_MEMORY;
  /** Where the opcode stands that is being carried out, for messages. */
  #opcodeAt = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#end = bytes.length;
    this.#at = start;
  }

  /** The next byte to be read. */
  get at(): number {
    return this.#at;
  }

  /** Where the current opcode stands. */
  get opcodeAt(): number {
    return this.#opcodeAt;
  }

  /** The next opcode. A frame that has been read to its end is left. */
  opcode(): number {
    const at = this.#at;
    if (at === this.#end) this.#passEnd();
    this.#opcodeAt = at;
    this.#at = at + 1;
    return this.#bytes[at]!;
  }

  /** At the end of a frame it is left; that of the pickle must not come before STOP. */
  #passEnd(): void {
    this.#inFrame = false;
    this.#end = this.#bytes.length;
    if (this.#at === this.#end) {
      throw new SafetensorsError("INVALID_PICKLE", `the pickle ends at byte ${this.#at} without STOP`, {
        at: this.#at,
      });
    }
  }

  /** Enters a frame (protocol 4): opcodes and their arguments lie wholly inside. */
  enterFrame(length: number): void {
    if (this.#inFrame) throw this.error("frames do not nest");
    const start = this.#take(length);
    this.#at = start;
    this.#end = start + length;
    this.#inFrame = true;
  }

  /** At STOP: the frame, if any, must end here too. */
  leaveFrame(): void {
    if (this.#inFrame && this.#at !== this.#end)
      throw this.error("the frame goes on after the end of the pickle");
  }

  /** Passes bytes that are no opcodes: outside of frames, or after the end of one, which is left. */
  pass(length: number): void {
    if (this.#inFrame && this.#at !== this.#end) throw this.error("bytes are to follow inside of a frame");
    this.#inFrame = false;
    this.#end = this.#bytes.length;
    this.#take(length);
  }

  uint8(): number {
    const at = this.#at;
    // Not by way of the method below: this is how most arguments are read.
    if (at === this.#end) this.#take(1);
    this.#at = at + 1;
    return this.#bytes[at]!;
  }

  uint16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  uint64(): number {
    const at = this.#take(8);
    return this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
  }

  /** A length of 32 bits with a sign that must not be used. */
  length32(): number {
    const length = this.int32();
    if (length < 0) throw this.error(`a length of ${length}`);
    return length;
  }

  /** Big-endian, as only BINFLOAT has it. */
  float64(): number {
    return this.#view.getFloat64(this.#take(8), false);
  }

  /** A view of the next bytes. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    this.countMemory(VIEW);
    return this.#bytes.subarray(start, start + length);
  }

  text(length: number): string {
    this.#checkText(length);
    const start = this.#take(length);
    this.countMemory(TEXT + TEXT_BYTE * length);
    const text = decodeUtf8(this.#bytes, start, start + length);
    if (text === undefined) throw this.#undecodable(start, start + length);
    return text;
  }

  /** Python takes halves of surrogate pairs, which begin with this byte, where JavaScript cannot tell them from pairs. */
  #undecodable(start: number, end: number): SafetensorsError {
    const hasHalves = this.#bytes.subarray(start, end).includes(0xed);
    return this.error("its argument is malformed", hasHalves ? undefined : "fatal");
  }

  /** The bytes up to the next LF, which is passed. */
  line(): Uint8Array {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end >= this.#end) throw this.error("the line does not end", "cut");
    this.#checkText(end - this.#at);
    this.countMemory(TEXT + TEXT_BYTE * (end - this.#at));
    const line = this.#bytes.subarray(this.#at, end);
    this.#at = end + 1;
    return line;
  }

  /** GLOBAL: a name, which is not empty, and UTF-8 without exceptions. */
  nameLine(): string {
    const line = this.line();
    const name = decodeUtf8(line, 0, line.length);
    return this.#parsed(name === "" || /\p{Surrogate}/u.test(name ?? "") ? undefined : name);
  }

  /** INST: a name, where Python's readers agree on ASCII only. */
  asciiNameLine(): string {
    const name = this.asciiLine();
    return this.#parsed(name === "" ? undefined : name);
  }

  /** PERSID. */
  asciiLine(): string {
    const text = decodeLatin1(this.line());
    return this.#parsed(/[\x80-\xff]/.test(text) ? undefined : text);
  }

  /** STRING. */
  quotedLine(): Uint8Array {
    return this.#parsed(parseQuoted(decodeLatin1(this.line())));
  }

  /** UNICODE. */
  rawUnicodeLine(): string {
    return this.#parsed(parseRawUnicode(decodeLatin1(this.line())));
  }

  /** INT, where `00` and `01` are how protocol 0 writes False and True. */
  intLine(): number | bigint | boolean {
    const text = this.#numberLine();
    return text === "00" ? false : text === "01" ? true : this.#parsed(parseInt10(text));
  }

  /** LONG: with or without an L at the end. */
  longLine(): number | bigint {
    return this.#parsed(parseInt10(this.#numberLine().replace(/L$/, "")));
  }

  /** FLOAT. */
  floatLine(): number {
    return this.#parsed(parseFloat10(this.#numberLine()));
  }

  /** GET and PUT: the index of a memo entry. */
  indexLine(): number {
    const index = parseInt10(this.#numberLine());
    return this.#parsed(typeof index === "number" && index >= 0 ? index : undefined);
  }

  /** LONG1 and LONG4: two's complement of so many bytes. */
  long(length: number): number | bigint {
    if (length > MAX_PICKLE_LONG_BYTES)
      throw this.limit("MAX_PICKLE_LONG_BYTES", `an int of ${length} bytes`);
    return decodeLong(this.bytes(length));
  }

  /** An `INVALID_PICKLE` error that says which opcode, and where. */
  error(reason: string, kind?: "cut" | "fatal"): SafetensorsError {
    const opcode = this.#bytes[this.#opcodeAt]!;
    const name = OPCODE_NAMES.get(opcode) ?? `opcode 0x${opcode.toString(16).padStart(2, "0")}`;
    return new SafetensorsError("INVALID_PICKLE", `${name} at byte ${this.#opcodeAt}: ${reason}`, {
      at: this.#opcodeAt,
      ...(kind && { kind }),
    });
  }

  /** Counts memory that the pickle takes (costs.ts). Its length alone does not keep that in bounds. */
  countMemory(bytes: number): void {
    this.#memoryLeft -= bytes;
    if (this.#memoryLeft < 0) throw this.limit("MAX_PICKLE_MEMORY", "more values than there is memory for");
  }

  /** A `LIMIT_EXCEEDED` error. */
  limit(limit: string, reason: string): SafetensorsError {
    return new SafetensorsError("LIMIT_EXCEEDED", `${reason} in the pickle`, { limit, at: this.#opcodeAt });
  }

  #numberLine(): string {
    const line = this.line();
    if (line.length > MAX_PICKLE_DIGITS)
      throw this.limit("MAX_PICKLE_DIGITS", `a number of ${line.length} digits`);
    return decodeLatin1(line);
  }

  #parsed<T>(value: T | undefined): T {
    if (value === undefined) throw this.error("its argument is malformed");
    return value;
  }

  #checkText(length: number): void {
    if (length > MAX_PICKLE_TEXT_BYTES)
      throw this.limit("MAX_PICKLE_TEXT_BYTES", `a text of ${length} bytes`);
  }

  /** Passes `length` bytes and gives the place of the first one. */
  #take(length: number): number {
    const start = this.#at;
    if (length > this.#end - start) {
      throw this.error(`${length} bytes are announced, ${this.#end - start} remain`, "cut");
    }
    this.#at = start + length;
    return start;
  }
}
