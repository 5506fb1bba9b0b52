/** A digest that is fed piece by piece: those of node:crypto are such. */
export interface Hasher {
  update(bytes: Uint8Array): unknown;
  /** The 32 bytes of the digest. Nothing can be added then. */
  digest(): Uint8Array;
}

/** Bytes of a block. */
const BLOCK = 64;

/** SHA-256 (FIPS 180-4), for runtimes whose own cannot be fed piece by piece, as WebCrypto's cannot. */
export function sha256(): Hasher {
  const state = new Int32Array(INITIAL);
  const words = new Int32Array(64);
  const held = new Uint8Array(BLOCK);
  let heldBytes = 0;
  let total = 0;
  const update = (bytes: Uint8Array): void => {
    total += bytes.length;
    let at = 0;
    if (heldBytes > 0) {
      at = Math.min(BLOCK - heldBytes, bytes.length);
      held.set(bytes.subarray(0, at), heldBytes);
      heldBytes += at;
      if (heldBytes < BLOCK) return;
      addBlocks(state, words, held);
      heldBytes = 0;
    }
    const whole = bytes.length - ((bytes.length - at) % BLOCK);
    addBlocks(state, words, bytes.subarray(at, whole));
    held.set(bytes.subarray(whole));
    heldBytes = bytes.length - whole;
  };
  return {
    update,
    digest() {
      // A one bit, zeros up to the last eight bytes of a block, and the number of bits.
      const bits = BigInt(total) * 8n;
      const padding = new Uint8Array(heldBytes < 56 ? BLOCK - heldBytes : 2 * BLOCK - heldBytes);
      padding[0] = 0x80;
      new DataView(padding.buffer).setBigUint64(padding.length - 8, bits);
      update(padding);
      const digest = new DataView(new ArrayBuffer(32));
      for (const [index, word] of state.entries()) digest.setInt32(index * 4, word);
      return new Uint8Array(digest.buffer);
    },
  };
}

/** The compression function, for every block of `bytes` (section 6.2.2). */
function addBlocks(state: Int32Array, w: Int32Array, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += BLOCK) {
    for (let t = 0; t < 16; t++) w[t] = view.getInt32(at + t * 4);
    for (let t = 16; t < 64; t++) {
      const x = w[t - 15]!;
      const y = w[t - 2]!;
      const sigma0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const sigma1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[t] = (sigma1 + w[t - 7]! + sigma0 + w[t - 16]!) | 0;
    }
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    let f = state[5]!;
    let g = state[6]!;
    let h = state[7]!;
    for (let t = 0; t < 64; t++) {
      const sum1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const first = (h + sum1 + ((e & f) ^ (~e & g)) + ROUND[t]! + w[t]!) | 0;
      const sum0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const second = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + first) | 0;
      d = c;
      c = b;
      b = a;
      a = (first + second) | 0;
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
    state[4]! += e;
    state[5]! += f;
    state[6]! += g;
    state[7]! += h;
  }
}

/** The first 64 primes. */
const PRIMES: readonly number[] = primes(64);

/** First 32 bits of the fractional parts of the cube roots and of the square roots of primes (sections 4.2.2, 5.3.3). */
const ROUND: Int32Array = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const INITIAL: Int32Array = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

function fraction(root: number): number {
  return Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
}

function primes(count: number): number[] {
  const found: number[] = [];
  for (let number = 2; found.length < count; number++) {
    if (found.every((prime) => number % prime !== 0)) found.push(number);
  }
  return found;
}

/** Bytes in lower-case hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
