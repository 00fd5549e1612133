/**
 * Where calls get their containers: image, command and host config make the kind of container that a
 * call needs, and the pool has one ready or starts one. Nobody else ever gets that one.
 */

import { HyperError } from '../protocol/errors.ts'
import { isNetworked } from '../protocol/func.ts'
import type { ImageRecord } from '../protocol/image.ts'
import type { Assignment, Preparation } from '../protocol/messages.ts'
import { readyKey } from '../protocol/ready-key.ts'
import type { AskAuth } from './auth-requests.ts'
import type { Bridge } from './bridge.ts'
import { type Command, commandOf } from './command.ts'
import type { Images } from './images.ts'
import type { Pool } from './pool.ts'
import type { KindSpec } from './pool-kinds.ts'
import type { RunningContainer } from './runner/runner.ts'
import type { Runtimes } from './runtimes.ts'

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
    onTaken: (container: RunningContainer) => void,
    askAuth: AskAuth,
  ): Promise<Supplied>
  /** A call of this kind may come soon: a container is made ready for it. */
  prepare(preparation: Preparation, signal: AbortSignal): Promise<void>
}

export const createSupply = (deps: {
  readonly images: Pick<Images, 'ensure' | 'forget'>
  readonly pool: Pick<Pool, 'take' | 'prepare'>
  readonly bridge: Pick<Bridge, 'id' | 'hasChanged'>
  readonly runtimes: Pick<Runtimes, 'check'>
}): Supply => {
  const { images, pool, bridge } = deps

  const networkOf = async (needs: Preparation): Promise<string> =>
    isNetworked(needs) ? bridge.id() : ''

  const specOf = (
    needs: Preparation,
    { id }: ImageRecord,
    { user, workingDir }: Command,
    network: string,
  ): KindSpec => {
    const { memoryBytes, cpus, runtime, profile } = needs
    const fence = { memoryBytes, cpus, network: needs.network, runtime, profile }
    return { image: id, user, workingDir, fence, network }
  }

  const takeOnce = async (
    assignment: Assignment,
    network: string,
    signal: AbortSignal,
    onTaken: (container: RunningContainer) => void,
    askAuth: AskAuth,
  ): Promise<Supplied> => {
    const image = await images.ensure(assignment.image, signal, askAuth)
    const command = commandOf(assignment, image.config)
    if (command.argv.length === 0) {
      throw new HyperError(
        'COMMAND_NOT_FOUND',
        `no command: neither the function nor its image ${image.reference} names one`,
      )
    }
    const spec = specOf(assignment, image, command, network)
    const container = await pool.take(readyKey(assignment), spec, signal, onTaken)
    return { container, command, image }
  }

  /** Whether somebody removed behind our back what it needs: then it is looked for once more. */
  const wasRemoved = async (
    error: unknown,
    assignment: Assignment,
    network: string,
  ): Promise<boolean> => {
    if (!(error instanceof HyperError)) return false
    if (error.code === 'IMAGE_NOT_FOUND') {
      images.forget(assignment.image)
      return true
    }
    return error.code === 'START_FAILED' && network !== '' && bridge.hasChanged(network)
  }

  return {
    async take(assignment, signal, onTaken, askAuth) {
      deps.runtimes.check(assignment)
      const network = await networkOf(assignment)
      try {
        return await takeOnce(assignment, network, signal, onTaken, askAuth)
      } catch (error) {
        if (!(await wasRemoved(error, assignment, network))) throw error
        return takeOnce(assignment, await networkOf(assignment), signal, onTaken, askAuth)
      }
    },
    async prepare(preparation, signal) {
      deps.runtimes.check(preparation)
      const network = await networkOf(preparation)
      const image = await images.ensure(preparation.image, signal, null)
      // Who runs it is all of the command that fixes the container.
      const words = { entrypoint: null, cmd: null, stopSignal: '' }
      const command = commandOf({ ...preparation, ...words }, image.config)
      pool.prepare(readyKey(preparation), specOf(preparation, image, command, network))
    },
  }
}
