/**
 * How a function container is fenced in: size, profile and network → Docker's HostConfig. Pure.
 *
 *   default  no capabilities, no new privileges, the engine's own seccomp profile; writable root
 *   strict   default, and: read-only root with /tmp in memory, no network, no shared memory
 *   compat   Docker's usual capabilities but for raw sockets, for images that change users themselves
 *            (gosu, apt)
 *
 * Memory is a limit without swap; CPUs are a cap, and never more than the host has. The mount with
 * hyper-init is a folder, so that the dead man's switch beside it is the agent's own file. Its place
 * has a name that is new with each container. An image that knew the name could have a volume seen
 * there, which the engine mounts later, or a link that leads elsewhere once the container runs.
 */

import { randomBytes } from 'node:crypto'
import { isNetworked } from '../protocol/func.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment } from '../protocol/messages.ts'

const INIT_PLACE_BYTES = 8

/** Where hyper-init and its switch will stand in one container: a path at its root. */
export const newInitPlace = (): string => `/.hyper-${randomBytes(INIT_PLACE_BYTES).toString('hex')}`

const STRICT_TMP = `rw,nosuid,nodev,size=${limits.strictTmpBytesMax},mode=1777`
const NANO = 1e9

export interface HostConfig {
  readonly [field: string]: unknown
}

export type Fence = Pick<Assignment, 'memoryBytes' | 'cpus' | 'network' | 'runtime' | 'profile'>

/** A log file is read back after a crash, so it must be byte-exact: only `local` is. */
const LOG_CONFIG = {
  Type: 'local',
  Config: {
    'max-size': `${limits.containerLogBytesMax}`,
    'max-file': '1',
    compress: 'false',
  },
}

const profileFields = (profile: Fence['profile']): HostConfig => {
  // On the bridge, frames below IP pass by every rule: with them neighbours would be reached.
  if (profile === 'compat') return { CapDrop: ['NET_RAW'] }
  const fenced = { CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges:true'] }
  if (profile === 'default') return fenced
  return { ...fenced, ReadonlyRootfs: true, Tmpfs: { '/tmp': STRICT_TMP } }
}

export interface RunnerHost {
  /** CPUs of the engine's host. */
  readonly cpus: () => number
  /** With hyper-init; mounted into every container. */
  readonly mountDir: string
}

/** `network`: of those that ask for one, its name or id at the engine. */
export const hostConfigOf = (
  fence: Fence,
  place: { readonly network: string; readonly initPlace: string },
  host: RunnerHost,
): HostConfig => {
  const isStrict = fence.profile === 'strict'
  const cpus = Math.min(fence.cpus, host.cpus())
  return {
    ...profileFields(fence.profile),
    Memory: fence.memoryBytes,
    MemorySwap: fence.memoryBytes,
    ...(cpus > 0 ? { NanoCpus: Math.round(cpus * NANO) } : {}),
    PidsLimit: limits.pidsMax,
    Ulimits: [
      { Name: 'nofile', Soft: limits.openFilesSoft, Hard: limits.openFilesHard },
      { Name: 'core', Soft: 0, Hard: 0 },
    ],
    // Whatever the engine's operator wants for containers that say nothing: PID 1 is hyper-init.
    Init: false,
    IpcMode: isStrict ? 'none' : 'private',
    NetworkMode: isNetworked(fence) ? place.network : 'none',
    ...(fence.runtime === '' ? {} : { Runtime: fence.runtime }),
    Mounts: [{ Type: 'bind', Source: host.mountDir, Target: place.initPlace, ReadOnly: true }],
    LogConfig: LOG_CONFIG,
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
  }
}
