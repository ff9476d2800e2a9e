// A certificate for the host, which vouches for itself.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export class Certificate {
  #folder;
  /** In PEM: what a client has to trust. */
  pem;

  static async make() {
    const certificate = new Certificate();
    certificate.#folder = await mkdtemp(path.join(tmpdir(), "witter-certificate-"));
    await run("openssl", [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=witter".split(" "),
      ..."-addext subjectAltName=IP:127.0.0.1,DNS:localhost".split(" "),
      ...["-keyout", certificate.#key, "-out", certificate.file],
    ]);
    certificate.pem = await readFile(certificate.file, "utf8");
    return certificate;
  }

  get file() {
    return path.join(this.#folder, "certificate.pem");
  }

  get #key() {
    return path.join(this.#folder, "key.pem");
  }

  /** What the host is told. */
  get options() {
    return ["--tls-cert", this.file, "--tls-key", this.#key];
  }

  async remove() {
    await rm(this.#folder, { recursive: true });
  }
}
