/**
 * What tests on a real engine stand on: the test engine with its registry and images, and the
 * compiled hyper-init. Suites are told of it by the environment.
 */

import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buildInit } from '../../agent/init/build.ts'
import { connectDocker } from './docker.ts'
import { type ExtraRuntimes, startTestEngine } from './engine.ts'
import { writeImageIndex } from './image-index.ts'
import { imagesOfBoth, pushTestImages } from './images.ts'
import { registryFilesOf } from './registry.ts'

export type Workbench = {
  readonly environment: {
    readonly DOCKER_HOST: string
    readonly HYPER_TEST_DOCKER_HOST: string
    readonly HYPER_TEST_DOCKER_SOCKET: string
    /** As the engine reaches it: `127.0.0.1:5000`. */
    readonly HYPER_TEST_REGISTRY: string
    /** The same images, with a password. */
    readonly HYPER_TEST_CLOSED_REGISTRY: string
    /** Holds hyper-init, hyper-keeper and hello. */
    readonly HYPER_TEST_INIT_DIR: string
  }
  readonly stop: () => Promise<void>
}

export const startWorkbench = async (deps: {
  readonly dir: string
  readonly runtimes?: ExtraRuntimes
}): Promise<Workbench> => {
  const initDir = join(deps.dir, 'init')
  const imagesDir = join(deps.dir, 'images')
  await mkdir(initDir, { mode: 0o755 })
  const { helloPath } = await buildInit({ outDir: initDir })
  const { runtimes = {} } = deps
  const engineDir = join(deps.dir, 'engine')
  const engine = await startTestEngine({ dir: engineDir, runtimes })
  try {
    const registry = new URL(engine.registryUrl).host
    const { docker, close } = connectDocker(engine.socketPath)
    try {
      await pushTestImages({ docker, registry, helloPath, dir: imagesDir })
      await writeImageIndex(registryFilesOf(engineDir), 'hyper-test/both', imagesOfBoth())
    } finally {
      close()
    }
    await rm(imagesDir, { recursive: true })
    return {
      environment: {
        DOCKER_HOST: engine.dockerHost,
        HYPER_TEST_DOCKER_HOST: engine.dockerHost,
        HYPER_TEST_DOCKER_SOCKET: engine.socketPath,
        HYPER_TEST_REGISTRY: registry,
        HYPER_TEST_CLOSED_REGISTRY: new URL(engine.closedRegistryUrl).host,
        HYPER_TEST_INIT_DIR: initDir,
      },
      stop: engine.stop,
    }
  } catch (error) {
    await engine.stop()
    throw error
  }
}
