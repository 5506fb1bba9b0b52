import type { ObjectNode, PyDict, PyTuple } from "./containers.ts";
import type { GlobalRef, PickleNode, PickleValue } from "./values.ts";

/** How items are added to an object: as APPEND and APPENDS do, as ADDITEMS does, or as SETITEM and SETITEMS do. */
export type FillOpcode = "append" | "add" | "set";

/**
 * What a reader adds to the machine. Without hooks, every call stays a node and nothing is interpreted. A hook that finds
 * something wrong throws a `PickleFault`.
 */
export interface PickleHooks {
  /** Indices of the memo that the pickle asks for, if that is known: what has another index is not kept. */
  readonly recalled?: ReadonlySet<number> | undefined;
  /** A name is asked for, for the first time in this pickle. May throw to refuse it. */
  onGlobal?(ref: GlobalRef): void;
  /** The value that a persistent id stands for. */
  persistentLoad?(id: PickleValue): PickleValue;
  /** The result of a call, for callables that the reader knows; nothing for all others. */
  call?(callable: GlobalRef, args: PyTuple): PickleValue | undefined;
  /** A name is made an object of, with arguments and without a call (NEWOBJ, NEWOBJ_EX). */
  onNewObject?(callable: GlobalRef, args: PyTuple, kwargs?: PyDict): void;
  /** What a call returned is called at this byte. */
  onResultCalled?(at: number): void;
  /** STACK_GLOBAL takes what a call returned, which could be a name, and is refused. */
  onMadeName?(made: ObjectNode, at: number): void;
  /** Items are added to an object, which keeps them. */
  onItems?(object: ObjectNode, opcode: FillOpcode, at: number): void;
  /** BUILD on an object, which keeps the state. */
  onState?(object: ObjectNode, state: PickleValue, at: number): void;
  /** Whether a protocol may be announced anywhere, which does nothing, as in Python. */
  readonly allowsLateProtocol?: boolean;
  /**
   * BUILD on a value that the machine does not know, or a dict: whether the reader accepts it, or how many of the bytes
   * `at` which the next opcode would stand belong to the value.
   */
  build?(target: PickleNode, state: PickleValue, at: number): boolean | number;
  /** The pickle has come to its end. May throw to refuse it. */
  onStop?(): void;
}
