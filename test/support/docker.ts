/** A dockerode client of the test engine, and the few things that tests do with it by hand. */

import { Agent } from 'node:http'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import Docker from 'dockerode'

export type DockerClient = {
  readonly docker: Docker
  /** Closes the connections it kept. */
  readonly close: () => void
}

export const connectDocker = (socketPath: string): DockerClient => {
  const agent = new Agent({ keepAlive: true })
  // The types of dockerode do not know of `agent`, which it hands on to node:http.
  const options = { socketPath, agent }
  return { docker: new Docker(options), close: () => agent.destroy() }
}

/** Pulls an image to the end. */
export const pullImage = async (docker: Docker, reference: string): Promise<void> => {
  const progress = await docker.pull(reference)
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(progress, (error) => (error === null ? resolve() : reject(error)))
  })
}

/** Runs a command in a container of its own, with `stdin` as its input, and removes it. */
export const runContainer = async (
  docker: Docker,
  image: string,
  command: readonly string[],
  stdin: Uint8Array = new Uint8Array(0),
  fence: Docker.HostConfig = {},
): Promise<{ status: number; stdout: Buffer; stderr: Buffer }> => {
  const container = await docker.createContainer({
    Image: image,
    ...(command.length === 0 ? {} : { Cmd: [...command] }),
    ...{ OpenStdin: true, StdinOnce: true, AttachStdin: true },
    HostConfig: { NetworkMode: 'none', ...fence },
  })
  try {
    const attached = { stream: true, stdin: true, stdout: true, stderr: true, hijack: true }
    const socket = await container.attach(attached)
    const stdout = new PassThrough()
    const stderr = new PassThrough()
    const printed = Promise.all([buffer(stdout), buffer(stderr)])
    docker.modem.demuxStream(socket, stdout, stderr)
    socket.on('close', () => {
      stdout.end()
      stderr.end()
    })
    await container.start()
    socket.end(stdin)
    const { StatusCode: status } = await container.wait()
    const [out, err] = await printed
    return { status, stdout: out, stderr: err }
  } finally {
    await container.remove({ force: true, v: true })
  }
}
