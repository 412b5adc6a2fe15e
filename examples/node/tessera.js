// A client of Tessera: where a platform listens, its stubs, and errors with their reasons.

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";

import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const PROTOS = process.env.TESSERA_PROTOS ?? fileURLToPath(new URL("../../protos", import.meta.url));
const FILES = [
  "tessera/api/controller/v1/deployment.proto",
  "tessera/api/controller/v1/job.proto",
  "tessera/api/controller/v1/registry.proto",
  "tessera/api/inference/v1/inference.proto",
  "google/rpc/status.proto",
  "google/rpc/error_details.proto",
];

const definitions = loadSync(FILES, {
  includeDirs: [PROTOS],
  keepCase: true, // Fields have the names that they have in a job's file.
  longs: Number, // Steps and versions stay far below 2 ** 53.
  enums: String,
  defaults: true,
  arrays: true,
  oneofs: true,
});
const api = grpc.loadPackageDefinition(definitions).tessera.api;

// A proxy of the company's has no way to a platform on this machine.
const OPTIONS = { "grpc.enable_http_proxy": 0 };
const SECONDS = 30;

/** What a call failed with: its status by name, a stable reason and what to do about it. */
export class TesseraError extends Error {
  constructor(failure) {
    super(failure.details ?? failure.message);
    this.code = grpc.status[failure.code] ?? "UNKNOWN";
    this.reason = reasonOf(failure);
  }
}

/** Everything that a platform answers. */
export class Tessera {
  /**
   * @param {{home?: string, address?: string, token?: string, ca?: string}} where - the folder of a
   *   platform on this machine (default `TESSERA_HOME` or ~/.tessera), or the controller's host:port
   *   and a token; where connections are encrypted, also a file with the authority to believe.
   */
  constructor({ home, address, token, ca } = {}) {
    const folder = home ?? process.env.TESSERA_HOME ?? join(homedir(), ".tessera");
    const named = address ?? process.env.TESSERA_ADDRESS;
    const state = named ? {} : stateIn(folder);
    this.address = named ?? state.controller;
    this.metadata = new grpc.Metadata();
    this.token = (token ?? process.env.TESSERA_TOKEN ?? read(join(folder, "token"))).trim();
    this.metadata.set("authorization", `Bearer ${this.token}`);
    const roots = ca ?? process.env.TESSERA_CA ?? state.ca;
    this.credentials = roots
      ? grpc.credentials.createSsl(Buffer.from(read(roots)))
      : grpc.credentials.createInsecure();
    this.stubs = new Map();
  }

  /** One answer of a service; `name` is for example `controller.v1.JobService`. */
  async call(name, method, request, { address = this.address, seconds = SECONDS } = {}) {
    const stub = this.stub(name, address);
    return new Promise((resolve, reject) => {
      const done = (failure, reply) => (failure ? reject(new TesseraError(failure)) : resolve(reply));
      stub[method](request, this.metadata, { deadline: Date.now() + seconds * 1000 }, done);
    });
  }

  /** The parts of an answer, as they come; leaving the loop ends the call. */
  async *stream(name, method, request, { address = this.address, proves } = {}) {
    const call = this.stub(name, address, proves)[method](request, this.metadata);
    try {
      yield* call;
    } catch (failure) {
      throw new TesseraError(failure);
    } finally {
      call.cancel();
    }
  }

  /**
   * Where a replica that serves a deployment listens, and what it proves to be where connections are
   * encrypted; waits for one.
   */
  async replica(model, seconds = 60) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const request = { role: "ROLE_REPLICA", name: `${model}/` };
      const { endpoints } = await this.call("controller.v1.RegistryService", "Resolve", request);
      const serving = endpoints.filter((endpoint) => endpoint.labels.state === "active");
      if (serving.length) {
        const { control_address } = serving[Math.floor(Math.random() * serving.length)];
        const { tenant } = JSON.parse(Buffer.from(this.token.split(".")[1], "base64url"));
        return { address: control_address, proves: `${model}.${tenant}.replica.tessera.internal` };
      }
      // A deployment that does not exist, or that can never serve, is not worth the wait.
      const name = { name: model };
      const reply = await this.call("controller.v1.DeploymentService", "GetDeployment", name);
      if (reply.deployment.state === "DEPLOYMENT_STATE_FAILED" || Date.now() > end) {
        throw new Error(`no replica of ${model} serves: ${reply.deployment.message}`);
      }
      await sleep(300);
    }
  }

  close() {
    for (const stub of this.stubs.values()) stub.close();
  }

  stub(name, address, proves) {
    const key = `${name} ${address} ${proves}`;
    if (!this.stubs.has(key)) {
      const Service = name.split(".").reduce((found, part) => found[part], api);
      const options = proves ? { ...OPTIONS, "grpc.ssl_target_name_override": proves } : OPTIONS;
      this.stubs.set(key, new Service(address, this.credentials, options));
    }
    return this.stubs.get(key);
  }
}

/** Run `main` with a client and say in one line what went wrong. */
export async function run(main) {
  let tessera;
  try {
    tessera = new Tessera();
    await main(tessera, process.argv.slice(2));
  } catch (failure) {
    const reason = failure.reason ? ` (${failure.reason})` : "";
    console.error(`${failure.message}${reason}`);
    process.exitCode = 1;
  } finally {
    tessera?.close();
  }
}

function stateIn(folder) {
  const state = JSON.parse(read(join(folder, "state.json")));
  if (!state.controller) {
    throw new Error(`no platform runs in ${folder}; start one with \`tessera up\``);
  }
  return state;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new Error(`${path} cannot be read; start a platform with \`tessera up\``);
  }
}

function reasonOf(failure) {
  const [packed] = failure.metadata?.get("grpc-status-details-bin") ?? [];
  if (!packed) return "";
  for (const { type_url, value } of decoded("google.rpc.Status", packed).details) {
    if (type_url.endsWith("/google.rpc.ErrorInfo")) return decoded("google.rpc.ErrorInfo", value).reason;
  }
  return "";
}

function decoded(type, bytes) {
  return definitions[type].deserialize(bytes);
}
