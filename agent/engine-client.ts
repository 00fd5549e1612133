/**
 * What we use of dockerode, as types of our own: its published ones do not know of `abortSignal`
 * everywhere, and every answer must go through a schema (engine-answers.ts) anyway.
 */

import type { Agent, IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import Docker from 'dockerode'

export type EngineAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number }

interface Aborted {
  abortSignal: AbortSignal
}

interface ContainerHandle {
  start(options: Aborted): Promise<unknown>
  inspect(options: Aborted & { size?: true }): Promise<unknown>
  wait(options: Aborted): Promise<unknown>
  logs(
    options: Aborted & { follow: false; stdout: true; stderr: true; timestamps: true },
  ): Promise<Buffer>
  remove(options: Aborted & { force: true; v: true }): Promise<unknown>
  getArchive(options: Aborted & { path: string }): Promise<IncomingMessage>
}

export interface EngineClient {
  /** `v1.41`: of the requests from now on. Undefined leaves the choice to the engine. */
  readonly modem: { version: string | undefined }
  ping(options: Aborted): Promise<unknown>
  version(options: Aborted): Promise<unknown>
  info(options: Aborted): Promise<unknown>
  /** Query and body are told apart, or dockerode would repeat the whole body in the query. */
  createContainer(
    options: Aborted & { _query: { name?: string }; _body: object },
  ): Promise<{ readonly id: string }>
  getContainer(id: string): ContainerHandle
  listContainers(options: Aborted & { all: true; filters: string }): Promise<unknown>
  getImage(name: string): {
    inspect(options: Aborted): Promise<unknown>
    remove(options: Aborted & { force: false; noprune: true }): Promise<unknown>
    /** What the registry has. It takes no signal. */
    distribution(options: { authconfig?: { base64: string } }): Promise<unknown>
  }
  listImages(options: Aborted): Promise<unknown>
  createImage(
    options: Aborted & { fromImage: string; tag: string; authconfig?: { base64: string } },
  ): Promise<Readable>
  listNetworks(options: Aborted & { filters: string }): Promise<unknown>
  createNetwork(options: Aborted & { _query: object; _body: object }): Promise<unknown>
  getNetwork(id: string): { remove(options: Aborted): Promise<unknown> }
  loadImage(archive: Buffer, options: Aborted): Promise<Readable>
}

export const createEngineClient = (address: EngineAddress, agent: Agent): EngineClient => {
  // What dockerode would take from the environment otherwise is ruled out by name: where the
  // engine is comes from the agent's configuration alone.
  const options = {
    ...{ host: undefined, port: undefined, protocol: 'http', timeout: undefined },
    ...{ ca: undefined, cert: undefined, key: undefined, pathPrefix: '/' },
    ...address,
    agent,
  }
  return new Docker(options as Docker.DockerOptions) as unknown as EngineClient
}
