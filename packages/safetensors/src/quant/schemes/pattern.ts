/** Nested groups, states, and ranges of a class: patterns of honest configurations have a few, some hundreds, and a few. */
const MAX_DEPTH = 16;
const MAX_STATES = 2000;
const MAX_RANGES = 16;

/** Sets of states that are kept, by the states in them. */
const MAX_KEPT = 20_000;

/** What the next character must be, or where in the name this must be; and which states are next. */
interface State {
  readonly test?: (code: number) => boolean;
  readonly at?: "start" | "end";
  next: readonly number[];
}

/** A set of states, and the sets that ASCII characters lead to, as far as they are known. */
interface Place {
  readonly active: readonly number[];
  readonly isMatch: boolean;
  readonly isMatchAtEnd: boolean;
  readonly next: Place[];
}

/** Part of a pattern: adds its states in front of others, and returns its first one. */
type Part = (next: number) => number;

/** Work that may still be done for patterns: about one for each character of a name. */
export interface Budget {
  left: number;
}

/** What it takes to follow a set of states, and each one in it. */
const STEP_WORK = 50;
const STATE_WORK = 50;

/**
 * A regular expression of a configuration, which anyone may have written: all its places are followed at once (Thompson's
 * construction), so that a name takes time in proportion to its length, whatever the pattern. It knows what names of modules
 * need: characters, `.`, classes, `\d \w \s`, groups, `|`, `* + ? {2,3}`, `^` and `$`. `RegExp` would take exponential time.
 */
export class Pattern {
  readonly #states: State[] = [{ next: [] }];
  readonly #text: string;
  #at = 0;
  /** Copies of repeated parts, those that are empty too. */
  #copies = 0;
  readonly #start: number;
  readonly #anywhere: boolean;
  /** The set of states that a name begins with, and those that followed. */
  #first: Place;
  readonly #kept = new Map<string, Place>();
  #keptStates = 0;

  /** States: what it takes of memory, and at most of time for each character of a name. */
  get size(): number {
    return this.#states.length;
  }

  /**
   * @param anywhere whether some part of a name may match; else it matches from the start on, and may end before the name
   * @throws `SyntaxError` for what is no such pattern
   */
  constructor(text: string, anywhere = false) {
    this.#text = text;
    this.#anywhere = anywhere;
    const whole = this.#choice(0);
    if (this.#at < text.length) throw new SyntaxError("a ) that closes nothing");
    this.#start = whole(0);
    const active = new Set<number>();
    this.#enter(active, this.#start, true, false);
    this.#first = this.#place([...active], true);
  }

  /** Whether the pattern matches the name. With no work left: no. */
  matches(name: string, budget: Budget): boolean {
    budget.left -= name.length;
    let place = this.#first;
    for (let at = 0; at < name.length && !place.isMatch; at++) {
      if (budget.left < 0 || (place.active.length === 0 && !this.#anywhere)) return false;
      const code = name.charCodeAt(at);
      place = place.next[code] ?? this.#step(place, code, budget);
    }
    return place.isMatch || place.isMatchAtEnd;
  }

  #step(place: Place, code: number, budget: Budget): Place {
    budget.left -= STEP_WORK + STATE_WORK * place.active.length;
    const following = new Set<number>();
    for (const state of place.active) {
      const { test, next } = this.#states[state]!;
      if (test?.(code)) this.#enter(following, next[0]!, false, false);
    }
    if (this.#anywhere) this.#enter(following, this.#start, false, false);
    const key = [...following].sort((a, b) => a - b).join();
    let result = this.#kept.get(key);
    if (!result) {
      this.#keptStates += following.size + 1;
      if (this.#keptStates > MAX_KEPT) {
        this.#kept.clear();
        this.#keptStates = 0;
        this.#first = this.#place(this.#first.active, true);
      }
      result = this.#place([...following], false);
      this.#kept.set(key, result);
    }
    if (code < 128) place.next[code] = result;
    return result;
  }

  #place(active: readonly number[], isStart: boolean): Place {
    const atEnd = new Set<number>();
    for (const state of active) this.#enter(atEnd, state, isStart, true);
    return { active, isMatch: active.includes(0), isMatchAtEnd: atEnd.has(0), next: [] };
  }

  /** Adds a state, and those that are reached from it without a character. */
  #enter(active: Set<number>, first: number, isStart: boolean, isEnd: boolean): void {
    const waiting = [first];
    for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
      if (active.has(state)) continue;
      active.add(state);
      const { test, at, next } = this.#states[state]!;
      if (test || (at === "start" && !isStart) || (at === "end" && !isEnd)) continue;
      for (const one of next) waiting.push(one);
    }
  }

  #add(state: State): number {
    if (this.#states.length >= MAX_STATES) throw tooLong();
    return this.#states.push(state) - 1;
  }

  #choice(depth: number): Part {
    if (depth > MAX_DEPTH) throw new SyntaxError("groups too deep in each other");
    const ways = [this.#sequence(depth)];
    while (this.#take("|")) ways.push(this.#sequence(depth));
    return ways.length === 1 ? ways[0]! : (next) => this.#add({ next: ways.map((way) => way(next)) });
  }

  #sequence(depth: number): Part {
    const parts: Part[] = [];
    while (this.#at < this.#text.length && !"|)".includes(this.#text[this.#at]!))
      parts.push(this.#repeated(this.#atom(depth)));
    return (next) => parts.reduceRight((after, part) => part(after), next);
  }

  #repeated(part: Part): Part {
    const found = /^(?:([*+?])|\{(\d{1,4})(?:(,)(\d{0,4}))?\})(\??)/.exec(
      this.#text.slice(this.#at, this.#at + 16),
    );
    if (!found) return part;
    const [all, sign, low, comma, high] = found;
    this.#at += all.length;
    if ("*+{".includes(this.#text[this.#at] || " ")) throw new SyntaxError("a repetition of a repetition");
    const least = sign === undefined ? Number(low) : sign === "+" ? 1 : 0;
    const most =
      sign === "?" ? 1 : sign !== undefined || high === "" ? undefined : comma ? Number(high) : least;
    return (next) => {
      let first = most === undefined ? this.#loop(part, next) : next;
      if (most !== undefined && most < least)
        throw new SyntaxError("a repetition of less than it begins with");
      this.#copies += Math.max(least, most ?? 0);
      if (this.#copies > MAX_STATES) throw tooLong();
      for (let i = least; i < (most ?? least); i++) first = this.#add({ next: [part(first), next] });
      for (let i = 0; i < least; i++) first = part(first);
      return first;
    };
  }

  #loop(part: Part, next: number): number {
    const state: State = { next: [] };
    const loop = this.#add(state);
    state.next = [part(loop), next];
    return loop;
  }

  #atom(depth: number): Part {
    const sign = this.#text[this.#at++]!;
    if (sign === "(") return this.#group(depth);
    if (sign === "^") return (next) => this.#add({ at: "start", next: [next] });
    if (sign === "$") return (next) => this.#add({ at: "end", next: [next] });
    if ("*+?".includes(sign)) throw new SyntaxError(`a ${sign} that repeats nothing`);
    const test =
      sign === "[" ? this.#class() : sign === "\\" ? this.#escape() : sign === "." ? isAny : is(sign);
    return (next) => this.#add({ test, next: [next] });
  }

  #group(depth: number): Part {
    if (this.#take("?") && !this.#take(":")) throw new SyntaxError("a group of a kind that is not known");
    const part = this.#choice(depth + 1);
    if (!this.#take(")")) throw new SyntaxError("a group that is not closed");
    return part;
  }

  #class(): NonNullable<State["test"]> {
    const isOther = this.#take("^");
    const single = new Set<number>();
    const tests: NonNullable<State["test"]>[] = [];
    for (let first = true; first || this.#text[this.#at] !== "]"; first = false) {
      const sign = this.#text[this.#at++];
      if (sign === undefined) throw new SyntaxError("a class that is not closed");
      const [dash, last] = this.#text.slice(this.#at, this.#at + 2);
      if (sign === "\\") tests.push(this.#escape());
      else if (dash === "-" && last !== undefined && last !== "]") {
        const [from, to] = [sign.charCodeAt(0), last.charCodeAt(0)];
        if (last === "\\" || from > to) throw new SyntaxError("a class with a range that is none");
        this.#at += 2;
        tests.push((code) => code >= from && code <= to);
      } else single.add(sign.charCodeAt(0));
      if (tests.length > MAX_RANGES) throw new SyntaxError("a class of too many ranges");
    }
    this.#at++;
    return (code) => (single.has(code) || tests.some((test) => test(code))) !== isOther;
  }

  #escape(): NonNullable<State["test"]> {
    const sign = this.#text[this.#at++];
    if (sign === undefined) throw new SyntaxError("a \\ at the end");
    const known = ESCAPES.get(sign.toLowerCase());
    if (known && /[dws]/i.test(sign)) {
      const isOther = sign !== sign.toLowerCase();
      return (code) => known.test(String.fromCharCode(code)) !== isOther;
    }
    if (/[a-z0-9]/i.test(sign)) throw new SyntaxError(`\\${sign} is not known`);
    return is(sign);
  }

  #take(sign: string): boolean {
    if (this.#text[this.#at] !== sign) return false;
    this.#at++;
    return true;
  }
}

const ESCAPES: ReadonlyMap<string, RegExp> = new Map([
  ["d", /\d/],
  ["w", /\w/],
  ["s", /\s/],
]);

function tooLong(): SyntaxError {
  return new SyntaxError("too many repetitions");
}

const isAny = (code: number): boolean => code !== 10;

function is(sign: string): (code: number) => boolean {
  const only = sign.charCodeAt(0);
  return (code) => code === only;
}
