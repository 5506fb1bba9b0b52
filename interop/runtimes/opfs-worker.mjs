// Writes a file of the origin's own by a handle that only workers have. Answers "saved", or the code of the error.
import { save, syncAccessSink } from "safetensors.js/save";

addEventListener("message", async ({ data: { name, tensors, options } }) => {
  try {
    const folder = await navigator.storage.getDirectory();
    const file = await folder.getFileHandle(name, { create: true });
    await save(syncAccessSink(await file.createSyncAccessHandle()), tensors, options);
    postMessage("saved");
  } catch (error) {
    postMessage(error.code ?? String(error));
  }
});
