// Uploads a file with tus-js-client, which goes on after cuts by itself; reads what is to be done as JSON.
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The package is not installed beside this file but in the working directory.
const { DefaultHttpStack, Upload } = createRequire(`${process.cwd()}/`)("tus-js-client");

const task = JSON.parse(readFileSync(0));
let cuts = 0;
const upload = new Upload(createReadStream(task.file), {
  endpoint: task.url,
  metadata: task.metadata,
  chunkSize: task.chunk_size,
  retryDelays: Array(task.attempts).fill(300),
  uploadDataDuringCreation: task.with_creation,
  // The registry's certificate is its own; Node.js cannot pin it.
  httpStack: new DefaultHttpStack({
    cert: readFileSync(task.certificate),
    key: readFileSync(task.key),
    rejectUnauthorized: false,
  }),
  onShouldRetry: (error) => {
    cuts += 1;
    process.stderr.write(`cut: ${error.message}\n`);
    return true;
  },
  onError: (error) => {
    process.stderr.write(`${error}\n`);
    process.exitCode = 1;
  },
  onSuccess: () => process.stdout.write(`done after ${cuts} cuts\n`),
});
upload.start();
