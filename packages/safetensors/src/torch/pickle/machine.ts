import { OPCODES_AT_ONCE, type Steps, untilDone } from "../steps.ts";
import { PickleCalls } from "./calls.ts";
import { ObjectNode, PyBytes, PyDict, PyList, PySet, PyTuple } from "./containers.ts";
import { PickleFault } from "./fault.ts";
import { addItems, appendTo, fillSet, setItems } from "./fill.ts";
import type { FillOpcode, PickleHooks } from "./hooks.ts";
import { PickleMemo } from "./memo.ts";
import { PickleReader } from "./reader.ts";
import { PickleStack } from "./stack.ts";
import { type GlobalRef, type PickleValue, PyFloat } from "./values.ts";

/** What a pickle holds, and what it asked for. */
export interface PickleResult {
  readonly value: PickleValue;
  /** The byte after STOP. */
  readonly end: number;
  /** Opcodes carried out. */
  readonly opcodes: number;
  /** The protocol that the pickle announces; 0 if it does not. */
  readonly protocol: number;
  /** The names asked for, in order of appearance. */
  readonly globals: readonly GlobalRef[];
}

/**
 * Runs a pickle, protocols 0 to 5, from byte `start` up to its STOP. A real stack machine over the real bytes that
 * never calls or imports anything: names are data, and a call becomes a node that describes it. Where Python's own
 * machines disagree with each other, it refuses.
 *
 * Errors: `INVALID_PICKLE` with the byte in `details.at`, `LIMIT_EXCEEDED`, `FORBIDDEN_GLOBAL` for extension codes,
 * and what the hooks throw.
 */
export function runPickle(bytes: Uint8Array, hooks: PickleHooks = {}, start = 0): Steps<PickleResult> {
  const machine = new PickleMachine(bytes, hooks, start);
  return untilDone(() => machine.run());
}

/** The empty tuple, which is one in Python too. */
const NO_ITEMS = new PyTuple([]);

class PickleMachine {
  readonly #reader: PickleReader;
  readonly #stack: PickleStack;
  readonly #calls: PickleCalls;
  readonly #memo: PickleMemo;
  readonly #hooks: PickleHooks;
  readonly #start: number;
  readonly #allowsLateProtocol: boolean;
  #protocol = 0;
  #opcodes = 0;

  constructor(bytes: Uint8Array, hooks: PickleHooks, start: number) {
    this.#reader = new PickleReader(bytes, start);
    this.#stack = new PickleStack(this.#reader);
    this.#memo = new PickleMemo(this.#reader, hooks.recalled);
    this.#calls = new PickleCalls(this.#reader, this.#stack, hooks);
    this.#hooks = hooks;
    this.#start = start;
    this.#allowsLateProtocol = hooks.allowsLateProtocol === true;
  }

  /** Carries out the next opcodes; the result at STOP. */
  run(): PickleResult | undefined {
    try {
      return this.#run();
    } catch (error) {
      throw error instanceof PickleFault ? this.#reader.error(error.message) : error;
    }
  }

  #run(): PickleResult | undefined {
    const reader = this.#reader;
    const stack = this.#stack;
    const memo = this.#memo;
    const calls = this.#calls;
    for (let left = OPCODES_AT_ONCE; left > 0; left--) {
      const opcode = reader.opcode();
      // The cases are literals, not names, so that the engine makes a jump table of them. Here are those that a tensor has
      // several times: code that is compiled for these need not be compiled again at the first one of a rare opcode.
      switch (opcode) {
        case 0x28: // MARK
          stack.pushMark();
          break;
        case 0x68: // BINGET
          stack.push(calls.pushed(memo.get(reader.uint8())));
          break;
        case 0x6a: // LONG_BINGET
          stack.push(calls.pushed(memo.get(reader.uint32())));
          break;
        case 0x71: // BINPUT
          memo.set(reader.uint8(), stack.top());
          break;
        case 0x72: // LONG_BINPUT
          memo.set(reader.uint32(), stack.top());
          break;
        case 0x94: // MEMOIZE
          memo.set(memo.size, stack.top());
          break;
        case 0x4a: // BININT
          stack.push(reader.int32());
          break;
        case 0x4b: // BININT1
          stack.push(reader.uint8());
          break;
        case 0x4d: // BININT2
          stack.push(reader.uint16());
          break;
        case 0x8c: // SHORT_BINUNICODE
          stack.push(reader.text(reader.uint8()));
          break;
        case 0x58: // BINUNICODE
          stack.push(reader.text(reader.uint32()));
          break;
        case 0x29: // EMPTY_TUPLE
          stack.push(calls.made(NO_ITEMS));
          break;
        case 0x85: // TUPLE1
          stack.push(calls.made(new PyTuple([stack.pop()])));
          break;
        case 0x86: // TUPLE2
          stack.push(calls.made(new PyTuple(stack.popMany(2))));
          break;
        case 0x87: // TUPLE3
          stack.push(calls.made(new PyTuple(stack.popMany(3))));
          break;
        case 0x74: // TUPLE
          stack.push(calls.made(new PyTuple(stack.popToMark())));
          break;
        case 0x52: // REDUCE
          stack.push(calls.reduce());
          break;
        case 0x2e: // STOP
          return {
            value: this.#stop(),
            end: reader.at,
            opcodes: this.#opcodes + OPCODES_AT_ONCE - left + 1,
            protocol: this.#protocol,
            globals: calls.globals,
          };
        default:
          this.#runOther(opcode);
      }
    }
    this.#opcodes += OPCODES_AT_ONCE;
    return undefined;
  }

  /** The other opcodes, of which a tensor has some: so the call of this is known to the engine early. */
  #runOther(opcode: number): void {
    const reader = this.#reader;
    const stack = this.#stack;
    const memo = this.#memo;
    const calls = this.#calls;
    switch (opcode) {
      // ---- The stack and the memo
      case 0x30: // POP
        stack.popValueOrMark();
        break;
      case 0x31: // POP_MARK
        stack.popToMark();
        break;
      case 0x32: // DUP
        stack.push(calls.pushed(stack.top()));
        break;
      case 0x67: // GET
        stack.push(calls.pushed(memo.get(reader.indexLine())));
        break;
      case 0x70: // PUT
        memo.set(reader.indexLine(), stack.top());
        break;

      // ---- Plain values
      case 0x4e: // NONE
        stack.push(null);
        break;
      case 0x89: // NEWFALSE
        stack.push(false);
        break;
      case 0x88: // NEWTRUE
        stack.push(true);
        break;
      case 0x8a: // LONG1
        stack.push(reader.long(reader.uint8()));
        break;
      case 0x8b: // LONG4
        stack.push(reader.long(reader.length32()));
        break;
      case 0x47: // BINFLOAT
        stack.push(calls.made(new PyFloat(reader.float64())));
        break;
      case 0x49: // INT
        stack.push(reader.intLine());
        break;
      case 0x4c: // LONG
        stack.push(reader.longLine());
        break;
      case 0x46: // FLOAT
        stack.push(calls.made(new PyFloat(reader.floatLine())));
        break;

      // ---- Text and bytes
      case 0x8d: // BINUNICODE8
        stack.push(reader.text(reader.uint64()));
        break;
      case 0x56: // UNICODE
        stack.push(reader.rawUnicodeLine());
        break;
      case 0x43: // SHORT_BINBYTES
      case 0x55: // SHORT_BINSTRING
        stack.push(calls.made(new PyBytes(reader.bytes(reader.uint8()))));
        break;
      case 0x42: // BINBYTES
        stack.push(calls.made(new PyBytes(reader.bytes(reader.uint32()))));
        break;
      case 0x54: // BINSTRING
        stack.push(calls.made(new PyBytes(reader.bytes(reader.length32()))));
        break;
      case 0x8e: // BINBYTES8
        stack.push(calls.made(new PyBytes(reader.bytes(reader.uint64()))));
        break;
      case 0x96: // BYTEARRAY8
        stack.push(calls.made(new PyBytes(reader.bytes(reader.uint64()), true)));
        break;
      case 0x53: // STRING
        stack.push(calls.made(new PyBytes(reader.quotedLine())));
        break;

      // ---- Containers
      case 0x5d: // EMPTY_LIST
        stack.push(calls.made(new PyList()));
        break;
      case 0x6c: // LIST
        stack.push(calls.made(new PyList(stack.popToMark())));
        break;
      case 0x7d: // EMPTY_DICT
        stack.push(calls.made(new PyDict()));
        break;
      case 0x64: // DICT
        stack.push(this.#dict(stack.popToMark()));
        break;
      case 0x8f: // EMPTY_SET
        stack.push(calls.made(new PySet()));
        break;
      case 0x91: // FROZENSET
        stack.push(this.#frozenSet(stack.popToMark()));
        break;
      case 0x61: // APPEND
        this.#fill(appendTo, stack.popMany(1), "append");
        break;
      case 0x65: // APPENDS
        this.#fill(appendTo, stack.popToMark(), "append");
        break;
      case 0x73: // SETITEM
        this.#fill(setItems, stack.popMany(2), "set");
        break;
      case 0x75: // SETITEMS
        this.#fill(setItems, stack.popToMark(), "set");
        break;
      case 0x90: // ADDITEMS
        this.#fill(addItems, stack.popToMark(), "add");
        break;

      // ---- Names and calls
      case 0x63: // GLOBAL
        stack.push(calls.global(reader.nameLine(), reader.nameLine()));
        break;
      case 0x93: // STACK_GLOBAL
        stack.push(calls.stackGlobal());
        break;
      case 0x69: // INST
        stack.push(calls.inst(reader.asciiNameLine(), reader.asciiNameLine()));
        break;
      case 0x6f: // OBJ
        stack.push(calls.obj(stack.popToMark()));
        break;
      case 0x81: // NEWOBJ
        stack.push(calls.newObject());
        break;
      case 0x92: // NEWOBJ_EX
        stack.push(calls.newObjectEx());
        break;
      case 0x62: // BUILD
        calls.build(stack.pop());
        break;
      case 0x50: // PERSID
        stack.push(calls.persistent(reader.asciiLine()));
        break;
      case 0x51: // BINPERSID
        stack.push(calls.persistent(stack.pop()));
        break;
      case 0x82: // EXT1
        throw calls.extension(reader.uint8());
      case 0x83: // EXT2
        throw calls.extension(reader.uint16());
      case 0x84: // EXT4
        throw calls.extension(reader.int32());
      case 0x97: // NEXT_BUFFER
      case 0x98: // READONLY_BUFFER
        throw reader.error("the pickle wants a buffer from outside the file");

      // ---- The pickle itself
      case 0x80: // PROTO
        this.#proto(reader.uint8());
        break;
      case 0x95: // FRAME
        reader.enterFrame(reader.uint64());
        break;
      default:
        throw reader.error("there is no such opcode");
    }
  }

  #dict(items: readonly PickleValue[]): PyDict {
    const dict = this.#calls.made(new PyDict());
    setItems(dict, items, this.#reader);
    return dict;
  }

  #frozenSet(items: readonly PickleValue[]): PySet {
    const set = this.#calls.made(new PySet(true));
    fillSet(set, items, this.#reader);
    return set;
  }

  /** Puts items into the value on top of the stack. */
  #fill(put: typeof appendTo, items: PickleValue[], opcode: FillOpcode): void {
    const target = this.#stack.top();
    if (target instanceof ObjectNode) this.#hooks.onItems?.(target, opcode, this.#reader.opcodeAt);
    put(target, items, this.#reader);
  }

  #stop(): PickleValue {
    this.#reader.leaveFrame();
    this.#calls.stop();
    return this.#stack.pop();
  }

  #proto(version: number): void {
    if (version > 5) throw this.#reader.error(`protocol ${version} is not known`);
    if (this.#reader.opcodeAt !== this.#start && !this.#allowsLateProtocol)
      throw this.#reader.error("it is not the first opcode");
    this.#protocol = version;
  }
}
