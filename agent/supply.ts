/**
 * Where calls get their containers. `take` hands out one that was started for this call alone and
 * waits for its frame; nobody else ever gets it. Here it is started when asked for: image, command,
 * host config, container. Starts side by side are bounded near the number of cores, because more
 * only make each other wait.
 */

import { HyperError } from '../protocol/errors.ts'
import type { ImageRecord } from '../protocol/image.ts'
import type { Assignment } from '../protocol/messages.ts'
import type { Bridge } from './bridge.ts'
import { type Command, commandOf } from './command.ts'
import { hostConfigOf, needsBridge } from './host-config.ts'
import type { Images } from './images.ts'
import type { Runner, RunningContainer } from './runner/runner.ts'
import type { Runtimes } from './runtimes.ts'
import { createTurns } from './turns.ts'

export interface Supplied {
  readonly container: RunningContainer
  readonly command: Command
  readonly image: ImageRecord
}

export interface Supply {
  /** Throws a HyperError that says why there is no container; then nothing was started. */
  take(assignment: Assignment, signal: AbortSignal): Promise<Supplied>
}

const labelsOf = ({ key }: Pick<Assignment, 'key'>): Readonly<Record<string, string>> => ({
  'hyper.call': key.call,
  'hyper.attempt': `${key.attempt}`,
  'hyper.epoch': `${key.epoch}`,
})

export const createSupply = (deps: {
  readonly images: Images
  readonly runner: Runner
  readonly bridge: Pick<Bridge, 'id' | 'hasChanged'>
  readonly runtimes: Pick<Runtimes, 'check'>
  /** CPUs of the engine's host. */
  readonly cpus: () => number
  readonly startsMax: number
  /** To be mounted into every container. */
  readonly initDir: string
}): Supply => {
  const { images, runner, bridge } = deps
  const turns = createTurns(deps.startsMax)

  const networkOf = async (assignment: Assignment): Promise<string> =>
    needsBridge(assignment) ? bridge.id() : ''

  const startOnce = async (
    assignment: Assignment,
    network: string,
    signal: AbortSignal,
  ): Promise<Supplied> => {
    const image = await images.ensure(assignment.image, signal)
    const command = commandOf(assignment, image.config)
    if (command.argv.length === 0) {
      throw new HyperError(
        'COMMAND_NOT_FOUND',
        `no command: neither the function nor its image ${image.reference} names one`,
      )
    }
    const host = { cpus: deps.cpus(), initDir: deps.initDir, bridge: network }
    const spec = {
      image: image.id,
      user: command.user,
      workingDir: command.workingDir,
      hostConfig: hostConfigOf(assignment, host),
      labels: labelsOf(assignment),
    }
    const container = await turns.run(signal, () => runner.start(spec, signal))
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
    async take(assignment, signal) {
      deps.runtimes.check(assignment)
      const network = await networkOf(assignment)
      try {
        return await startOnce(assignment, network, signal)
      } catch (error) {
        if (!(await wasRemoved(error, assignment, network))) throw error
        return startOnce(assignment, await networkOf(assignment), signal)
      }
    },
  }
}
