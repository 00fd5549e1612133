/**
 * What the engine itself takes for the same work: create + attach + start + wait + remove of a container,
 * through the same HTTP API, with the create options that the agent uses (host-config.ts), running the
 * command itself.
 */

import { once } from 'node:events'
import { cpus } from 'node:os'
import type Docker from 'dockerode'
import { hostConfigOf, newInitPlace } from '../agent/host-config.ts'
import { SIZES } from '../protocol/func.ts'

export interface RawCall {
  /** Until the container was removed. */
  readonly wholeMs: number
  /** Until the last byte of its output. */
  readonly lastByteMs: number
  readonly outputBytes: number
}

export interface RawEngine {
  call(cmd: readonly string[], payload?: Uint8Array): Promise<RawCall>
  /** Containers that wait for their input, until what is given back is called. */
  stand(count: number): Promise<() => Promise<void>>
  /** Calls a second through so many callers, each one call after the other. */
  best(cmd: readonly string[], callers: number, forMs: number): Promise<number>
}

export const createRawEngine = (docker: Docker, initDir: string): RawEngine => {
  const create = (cmd: readonly string[]) =>
    docker.createContainer({
      Image: 'ubuntu',
      Cmd: [...cmd],
      ...{ OpenStdin: true, StdinOnce: true },
      ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true },
      Healthcheck: { Test: ['NONE'] },
      HostConfig: hostConfigOf(
        { ...SIZES.s4, network: 'bridge', runtime: '', profile: 'default' },
        { network: 'bridge', initPlace: newInitPlace() },
        { cpus: () => cpus().length, mountDir: initDir },
      ),
    })
  const attach = (container: Docker.Container) =>
    container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true })

  const call: RawEngine['call'] = async (cmd, payload = new Uint8Array(0)) => {
    const start = performance.now()
    const container = await create(cmd)
    const socket = await attach(container)
    let outputBytes = 0
    socket.on('data', (chunk: Buffer) => {
      outputBytes += chunk.length
    })
    // The wait may be answered before the last byte came: both must have ended.
    const lastByte = once(socket, 'end').then(() => performance.now() - start)
    const ended = Promise.all([lastByte, container.wait()])
    await container.start()
    socket.end(payload)
    const [lastByteMs] = await ended
    await container.remove({ force: true, v: true })
    return { wholeMs: performance.now() - start, lastByteMs, outputBytes }
  }

  const waiting = async (): Promise<Docker.Container> => {
    const container = await create(['cat'])
    await attach(container)
    await container.start()
    return container
  }

  return {
    call,
    async stand(count) {
      const containers: Docker.Container[] = []
      while (containers.length < count) containers.push(await waiting())
      return async () => {
        for (const container of containers) await container.remove({ force: true, v: true })
      }
    },
    async best(cmd, callers, forMs) {
      const untilMs = performance.now() + forMs
      let calls = 0
      const work = async (): Promise<void> => {
        while (performance.now() < untilMs) {
          await call(cmd)
          calls += 1
        }
      }
      const start = performance.now()
      await Promise.all(Array.from({ length: callers }, work))
      return calls / ((performance.now() - start) / 1000)
    },
  }
}
