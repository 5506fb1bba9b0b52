import { filesOf, saveInFiles } from "../in-files.mjs";

export const title = "three files over three with the same names";

export const write = (folder, generation) => saveInFiles(folder, generation, 3);

export const files = () => filesOf(3);
