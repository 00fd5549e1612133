/**
 * Where calls get their containers: image, command and host config make the kind of container that a
 * call needs, and the pool has one ready or starts one. Nobody else ever gets that one.
 */

import { HyperError } from '../protocol/errors.ts'
import type { ImageRecord } from '../protocol/image.ts'
import type { Assignment, Preparation } from '../protocol/messages.ts'
import { readyKey } from '../protocol/ready-key.ts'
import { type Command, commandOf } from './command.ts'
import { hostConfigOf } from './host-config.ts'
import type { Images } from './images.ts'
import type { Pool } from './pool.ts'
import type { ContainerSpec, RunningContainer } from './runner/runner.ts'

export interface Supplied {
  readonly container: RunningContainer
  readonly command: Command
  readonly image: ImageRecord
}

export interface Supply {
  /**
   * `onTaken` is called in the same moment in which the container becomes the call's. Throws a
   * HyperError that says why there is none; then nothing was started.
   */
  take(
    assignment: Assignment,
    signal: AbortSignal,
    onTaken: (id: string) => void,
  ): Promise<Supplied>
  /** A call of this kind may come soon: a container is made ready for it. */
  prepare(preparation: Preparation, signal: AbortSignal): Promise<void>
}

export const createSupply = (deps: {
  readonly images: Pick<Images, 'ensure' | 'forget'>
  readonly pool: Pick<Pool, 'take' | 'expect'>
  /** CPUs of the engine's host. */
  readonly cpus: () => number
  /** To be mounted into every container. */
  readonly initDir: string
}): Supply => {
  const { images, pool } = deps

  const specOf = (needs: Preparation, { id }: ImageRecord, command: Command): ContainerSpec => ({
    image: id,
    user: command.user,
    workingDir: command.workingDir,
    hostConfig: hostConfigOf(needs, { cpus: deps.cpus(), initDir: deps.initDir }),
    labels: {},
  })

  const takeOnce = async (
    assignment: Assignment,
    signal: AbortSignal,
    onTaken: (id: string) => void,
  ): Promise<Supplied> => {
    const image = await images.ensure(assignment.image, signal)
    const command = commandOf(assignment, image.config)
    if (command.argv.length === 0) {
      throw new HyperError(
        'COMMAND_NOT_FOUND',
        `no command: neither the function nor its image ${image.reference} names one`,
      )
    }
    const spec = specOf(assignment, image, command)
    const container = await pool.take(readyKey(assignment), spec, signal, onTaken)
    return { container, command, image }
  }

  return {
    async take(assignment, signal, onTaken) {
      try {
        return await takeOnce(assignment, signal, onTaken)
      } catch (error) {
        const isGone = error instanceof HyperError && error.code === 'IMAGE_NOT_FOUND'
        if (!isGone) throw error
        // Somebody removed it behind our back: looked for, or pulled, once more.
        images.forget(assignment.image)
        return takeOnce(assignment, signal, onTaken)
      }
    },
    async prepare(preparation, signal) {
      const image = await images.ensure(preparation.image, signal)
      // Who runs it is all of the command that fixes the container.
      const words = { entrypoint: null, cmd: null, stopSignal: '' }
      const command = commandOf({ ...preparation, ...words }, image.config)
      pool.expect(readyKey(preparation), specOf(preparation, image, command))
    },
  }
}
