// Edits a file again and again, until it is killed: its path is the argument.
import { editFile } from "../../../src/node/edit/edit-file.ts";
import { writeTensors } from "../../../src/node/edit/write-tensors.ts";

const file = process.argv[2]!;
for (let round = 0; ; round++) {
  const letter = String.fromCharCode(97 + (round % 26));
  await editFile(file, { setMetadata: { k: letter.repeat(3000) } });
  const data = new Uint8Array(200_000).fill(round % 256);
  await writeTensors(file, { w: { dtype: "U8", shape: [data.length], data } });
  if (round === 0) process.stdout.write("begun\n");
}
