import { filesOf, saveInFiles } from "../in-files.mjs";

export const title = "three files over three, going on where the last one was killed";

export const write = (folder, generation) =>
  saveInFiles(folder, generation, 3, { resume: `generation ${generation}` });

export const files = () => filesOf(3);
