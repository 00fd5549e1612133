/**
 * Which of the two runners starts a container. What is started knows by its id whose it is, so that
 * an agent that is told otherwise at its next start still finds what it left.
 *
 *   docker   the engine starts everything
 *   oci      the OCI runtime is started directly where it can be; where it cannot, no call is taken
 *   auto     … and where it cannot, the engine starts it, and why is told
 *
 * A call that the OCI runner cannot fence in as the engine does (a runtime by name that it has not seen
 * run a container, a network whose bridge is not this host's) is the engine's in every case. The
 * engine's default runtime is the same by its name as without.
 */

import type { Log } from '../../daemon/log.ts'
import type { AgentConfig } from '../../protocol/daemon.ts'
import { HyperError, messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { isOciId } from './oci/oci.ts'
import type { ContainerSpec, Runner } from './runner.ts'

export interface RunnerChoice extends Runner {
  /** Who starts containers now, and why it is not the OCI runtime; '' where it is. */
  chosen(): { readonly name: 'docker' | 'oci'; readonly reason: string }
  /** Tries the OCI runner, where it is wanted. Throws ENGINE_UNSUITABLE where nothing else is. */
  settle(): Promise<void>
}

const NOT_WANTED = 'the agent was told --runner docker'

export const chooseRunner = (deps: {
  readonly wanted: AgentConfig['runner']
  readonly docker: Runner
  readonly oci: Runner
  readonly defaultRuntime: () => string
  /** Whether the OCI runner has seen this runtime, which the engine has by that name, run a container. */
  readonly isDirect: (runtime: string) => boolean
  /** Whether the OCI runner can connect a container to this network. */
  readonly canLink: (network: string) => boolean
  /** Runs a container of the OCI runner. Throws why that cannot be. */
  readonly tryOci: () => Promise<void>
  /** Removes what the OCI runner has at the engine, where it is not chosen: pins keep images there. */
  readonly leaveOci: () => Promise<void>
  readonly log: Log
}): RunnerChoice => {
  const { wanted, docker, oci, log } = deps
  let reason = wanted === 'docker' ? NOT_WANTED : 'it was not tried yet'

  const plain = (spec: ContainerSpec): ContainerSpec =>
    spec.fence.runtime === deps.defaultRuntime()
      ? { ...spec, fence: { ...spec.fence, runtime: '' } }
      : spec
  const starter = ({ fence, network }: ContainerSpec): Runner =>
    reason === '' &&
    (fence.runtime === '' || deps.isDirect(fence.runtime)) &&
    (network === '' || deps.canLink(network))
      ? oci
      : docker
  const ownerOf = (id: string): Runner => (isOciId(id) ? oci : docker)

  /** What stays costs room, and no call. */
  const leave = async (): Promise<void> => {
    try {
      await deps.leaveOci()
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'what the OCI runner has at the engine stays there')
    }
  }

  return {
    start: (asked, signal) => {
      const spec = plain(asked)
      return starter(spec).start(spec, signal)
    },
    state: (id, signal) => ownerOf(id).state(id, signal),
    writtenBytes: (id, signal) => ownerOf(id).writtenBytes(id, signal),
    waitForEnd: (id, signal) => ownerOf(id).waitForEnd(id, signal),
    readLog: (id, sinks, signal) => ownerOf(id).readLog(id, sinks, signal),
    remove: (id, signal) => ownerOf(id).remove(id, signal),
    async list(signal) {
      return [...(await oci.list(signal)), ...(await docker.list(signal))]
    },
    chosen: () => ({
      name: reason === '' ? 'oci' : 'docker',
      reason: reason.slice(0, limits.runnerReasonCharsMax),
    }),
    async settle() {
      if (wanted === 'docker') return leave()
      try {
        await deps.tryOci()
        reason = ''
        log.info('containers are started by the OCI runtime itself')
      } catch (cause) {
        reason = messageOf(cause)
        await leave()
        if (wanted === 'oci') {
          throw new HyperError('ENGINE_UNSUITABLE', `--runner oci cannot be had: ${reason}`, {
            cause,
          })
        }
        log.info({ reason }, 'containers are started by the engine')
      }
    },
  }
}
