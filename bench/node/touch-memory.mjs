// Writes to as many bytes of fresh memory as the argument says.
const PIECE = 256 << 20;
const pieces = [];
for (let left = Number(process.argv[2]); left > 0; left -= PIECE) {
  pieces.push(new Uint8Array(Math.min(left, PIECE)).fill(1));
}
