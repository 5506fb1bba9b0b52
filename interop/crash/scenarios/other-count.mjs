import { filesOf, saveInFiles } from "../in-files.mjs";

const countOf = (generation) => 2 + (generation % 2);

export const title = "two files over three, and three over two";

export const write = (folder, generation) => saveInFiles(folder, generation, countOf(generation));

export const files = (generation) => filesOf(countOf(generation));
