import { filesOf, saveInFiles } from "../in-files.mjs";

const countOf = (generation) => (generation % 2 === 0 ? 1 : 3);

export const title = "one file over three, and three over one";

export const write = (folder, generation) => saveInFiles(folder, generation, countOf(generation));

export const files = (generation) => filesOf(countOf(generation));
