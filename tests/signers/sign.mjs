// Signs URLs with @aws-sdk/cloudfront-signer: reads a JSON list of what is to be signed, writes one of signed URLs.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The package is not installed beside this file but in the working directory.
const { getSignedUrl } = createRequire(`${process.cwd()}/`)("@aws-sdk/cloudfront-signer");

const sign = (task) =>
  getSignedUrl({
    url: task.url,
    keyPairId: task.keypair_id,
    privateKey: readFileSync(task.private_key),
    dateLessThan: new Date(task.expires * 1000),
    algorithm: task.sha256 ? "SHA256" : "SHA1",
  });

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0)).map(sign)));
