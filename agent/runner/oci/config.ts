/**
 * The OCI runtime's configuration of one container: the engine's own for this profile (template.ts)
 * with another root, user, size and place. Pure.
 *
 * Hooks go: they connect the container with the engine. Files that the engine keeps for each
 * container (hosts, hostname, resolv.conf) are those of the container's folder.
 */

import { limits } from '../../../protocol/limits.ts'
import type { Fence } from '../../host-config.ts'
import type { Template } from './template.ts'
import type { Identity } from './users.ts'

const PERIOD_MICROS = 100_000
const OWN_FILES = ['resolv.conf', 'hostname', 'hosts']
const HOSTNAME_CHARS = 12

export interface Place {
  readonly id: string
  /** The container's folder. */
  readonly folder: string
  readonly cgroupsPath: string
}

export interface Program {
  readonly identity: Identity
  readonly workingDir: string
  /** The image's, as `NAME=value`. */
  readonly environment: readonly string[]
}

export const hostnameOf = (id: string): string => id.slice(0, HOSTNAME_CHARS)

const environmentOf = (template: Template, { environment }: Program, id: string): string[] => {
  const named = (row: string): string => row.slice(0, row.indexOf('='))
  const own = new Set(environment.map(named))
  const kept = template.process.env.filter((row) => named(row) !== 'HOSTNAME')
  return [
    ...kept.filter((row) => !own.has(named(row))),
    ...(own.has('HOSTNAME') ? [] : [`HOSTNAME=${hostnameOf(id)}`]),
    ...environment,
  ]
}

const resourcesOf = (template: Template, fence: Fence, cpus: number) => ({
  ...template.linux.resources,
  memory: { limit: fence.memoryBytes, swap: fence.memoryBytes, disableOOMKiller: false },
  cpu: {
    shares: 0,
    ...(cpus > 0 ? { quota: Math.round(cpus * PERIOD_MICROS), period: PERIOD_MICROS } : {}),
  },
  pids: { limit: limits.pidsMax },
})

/** `cpus` of the host: nothing gets more. */
export const configOf = (
  template: Template,
  fence: Fence,
  program: Program,
  place: Place,
  cpus: number,
): object => {
  const { hooks: _hooks, ...kept } = template
  const { uid, gid, additionalGids } = program.identity
  return {
    ...kept,
    process: {
      ...template.process,
      user: { ...template.process.user, uid, gid, additionalGids },
      env: environmentOf(template, program, place.id),
      cwd: program.workingDir || '/',
    },
    root: { ...template.root, path: `${place.folder}/rootfs` },
    hostname: hostnameOf(place.id),
    mounts: template.mounts.map((mount) => {
      const name = mount.destination.replace(/^\/etc\//, '')
      return OWN_FILES.includes(name) ? { ...mount, source: `${place.folder}/${name}` } : mount
    }),
    linux: {
      ...template.linux,
      cgroupsPath: place.cgroupsPath,
      resources: resourcesOf(template, fence, Math.min(fence.cpus, cpus)),
    },
  }
}
