/**
 * The docker runner on the test engine, for the runners' suite: two agents, and what of their
 * containers the engine still has.
 */

import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { type Engine, startEngine } from '../../agent/engine.ts'
import type { RunnerHost } from '../../agent/host-config.ts'
import { createDockerRunner, type RunnerIdentity } from '../../agent/runner/docker.ts'
import type { Runner } from '../../agent/runner/runner.ts'
import { connectDocker, type DockerClient, pullImage } from './docker.ts'
import type { RunnerBench, RunnerImages } from './runner-suite.ts'

export interface RunnerEngine {
  readonly engine: Engine
  readonly docker: DockerClient['docker']
  readonly host: RunnerHost
  readonly images: RunnerImages
  dockerRunner(identity: RunnerIdentity): Runner
  close(): void
}

export const newIdentity = (): RunnerIdentity => {
  const id = `suite-${randomBytes(6).toString('hex')}`
  return { agentId: id, storeId: id }
}

export const connectRunnerEngine = async (): Promise<RunnerEngine> => {
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  const engine = startEngine(process.env.HYPER_TEST_DOCKER_HOST ?? '')
  await engine.check()
  const idOf = async (reference: string): Promise<string> => {
    await pullImage(docker, `${reference}:latest`)
    return (await docker.getImage(reference).inspect()).Id
  }
  const images = {
    ubuntu: await idOf('ubuntu'),
    configured: await idOf('hyper-test/configured'),
    static: await idOf('hyper-test/static'),
  }
  const host = { cpus: availableParallelism, mountDir: process.env.HYPER_TEST_INIT_DIR ?? '' }
  return {
    ...{ engine, docker, host, images },
    dockerRunner: (identity) => createDockerRunner(engine, identity, host),
    close() {
      engine.close()
      close()
    },
  }
}

const volumesOf = async (docker: DockerClient['docker']): Promise<readonly string[]> =>
  ((await docker.listVolumes()).Volumes ?? []).map(({ Name }) => Name)

export const openDockerBench = async (): Promise<RunnerBench> => {
  const bench = await connectRunnerEngine()
  const [own, other] = [newIdentity(), newIdentity()]
  const agents = [own.agentId, other.agentId]
  const earlier = await volumesOf(bench.docker)
  const leftovers = async (): Promise<readonly string[]> => {
    const containers = await bench.docker.listContainers({ all: true })
    const ours = containers.filter(({ Labels }) => agents.includes(Labels['hyper.agent'] ?? ''))
    const volumes = (await volumesOf(bench.docker)).filter((name) => !earlier.includes(name))
    return [
      ...ours.map(({ Id, Status }) => `container ${Id}: ${Status}`),
      ...volumes.map((name) => `volume ${name}`),
    ]
  }
  return {
    runner: bench.dockerRunner(own),
    reopen: async () => bench.dockerRunner(own),
    foreign: bench.dockerRunner(other),
    images: bench.images,
    leftovers,
    close: async () => bench.close(),
  }
}
