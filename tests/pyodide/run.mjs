// Runs Python source in Pyodide, with folders of this machine in its file system:
//
//   node run.mjs FOLDER_OF_PYODIDE '{"/there": "/here"}' sync|async SOURCE
//
// "async" runs it in Pyodide's loop, where it may use await; "sync" outside of any loop.
// What the last expression gives is the exit code.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, mounts, mode, source] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(folder, "pyodide.mjs")).href);
const pyodide = await loadPyodide({
  env: {
    HOME: "/home/pyodide",
    HYPOTHESIS_STORAGE_DIRECTORY: "/home/pyodide/hypothesis",
    PYTHONDONTWRITEBYTECODE: "1", // the checkout is only looked at
  },
});
for (const [there, here] of Object.entries(JSON.parse(mounts))) {
  pyodide.FS.mkdirTree(there);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: here }, there);
}
pyodide.runPython(`import sys; sys.path += ["/site", "/checkout", "/checkout/tests/pyodide"]`);
try {
  process.exitCode = mode === "async" ? await pyodide.runPythonAsync(source) : pyodide.runPython(source);
} catch (error) {
  // Left to itself, Node shows the line that threw: all of Pyodide, which is one line.
  console.error(String(error.message ?? error));
  process.exitCode = 1;
}
