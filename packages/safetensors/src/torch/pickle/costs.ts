/**
 * What values take of memory, in bytes: as measured in V8 on machines of 64 bits, rounded up, with what lies unused behind an
 * array or a Map that grows. Their sum is held against `MAX_PICKLE_MEMORY`.
 */

/** An object of one of the machine's classes. */
export const OBJECT = 88;

/** An array, and each value in it. */
export const ARRAY = 32;
export const ARRAY_VALUE = 8;

/** An array that grows, beyond that, and each value in it. */
export const GROWN_ARRAY = 64;
export const GROWN_VALUE = 16;

/** The Map of a dict or set, and each entry; an entry whose key is kept apart from its form (keys.ts) counts twice. */
export const MAP = 128;
export const MAP_ENTRY = 100;

/** A character of such a form. It takes one or two bytes, but more time than all else. */
export const FORM_CHARACTER = 16;

/** A text, and each byte that it has in the pickle. */
export const TEXT = 32;
export const TEXT_BYTE = 2;

/** A view of bytes, or an int that has a length. */
export const VIEW = 80;

/** A name, with what is noted of it elsewhere, and each of its characters. */
export const NAME = 4000;
export const NAME_CHARACTER = 8;

/** What may be noted of an odd call, or of a reference to what is outside. */
export const NOTE = 300;

/** A state that is put into an object. */
export const STATE = 100;
