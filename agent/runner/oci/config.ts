/**
 * The OCI runtime's configuration of one container: the engine's own for this profile (template.ts)
 * with another root, user, size and place. Pure.
 *
 * Hooks go: they connect the container with the engine. Files that the engine keeps for each
 * container (hosts, hostname, resolv.conf) are those of its keeper, in memory.
 */

import { dirname } from 'node:path'
import { limits } from '../../../protocol/limits.ts'
import type { Fence } from '../../host-config.ts'
import type { Template } from './template.ts'
import type { Identity } from './users.ts'

const PERIOD_MICROS = 100_000
const OWN_FILES = ['resolv.conf', 'hostname', 'hosts']
const HOSTNAME_CHARS = 12
const KERNELS = /^\/(proc|sys|dev)(\/|$)/

type Mount = Template['mounts'][number]

export interface Place {
  readonly id: string
  /** The container's folder. */
  readonly folder: string
  /** Where hyper-init stands in the container. */
  readonly initPlace: string
  readonly cgroupsPath: string
  /** Whether its keeper has made a network for it. */
  readonly isLinked: boolean
}

export interface Program {
  readonly identity: Identity
  readonly workingDir: string
  /** The image's, as `NAME=value`. */
  readonly environment: readonly string[]
  /** The image's, as its keeper is told them: `volumesOf`, those in others after them. */
  readonly volumes: readonly string[]
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

/** Others than root get only the bounding set: of the rest exec leaves them nothing. */
const capabilitiesOf = (template: Template, uid: number): object => {
  const { bounding } = template.process.capabilities ?? {}
  if (bounding === undefined) return {}
  return uid === 0 ? { bounding, effective: bounding, permitted: bounding } : { bounding }
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

/**
 * Those of the image's volumes that a container has: not where it has a mount of ours or of the
 * kernel's already, which wins as it does with the engine. Pure.
 */
export const volumesOf = (template: Template, volumes: readonly string[]): readonly string[] =>
  volumes.filter((path) => template.mounts.every(({ destination }) => destination !== path))

/** Its keeper makes their sources of its root: writable where the root is not, and in memory as well. */
const volumeMounts = ({ volumes }: Program, { folder }: Place): readonly Mount[] =>
  volumes.map((destination, index) => ({
    ...{ destination, type: 'bind', source: `${folder}/t/v${index}` },
    options: ['rbind'],
  }))

const ownFiles = ({ mounts }: Template, { folder }: Place): readonly Mount[] =>
  mounts.map((mount) => {
    const name = mount.destination.replace(/^\/etc\//, '')
    return OWN_FILES.includes(name) ? { ...mount, source: `${folder}/t/${name}` } : mount
  })

/** Where it was in the engine's container that the template was read from. */
export const initPlaceOf = ({ process }: Template): string => dirname(process.args[0] ?? '')

const depthOf = ({ destination }: Mount): number => destination.split('/').length

/**
 * In the engine's order: the kernel's own first, then the deeper ones later, so that no volume hides
 * what lies in it. hyper-init is the very last: the image may have links at its volumes' places that
 * lead there, and what is mounted later is what is seen.
 */
const mountsOf = (template: Template, program: Program, place: Place): readonly Mount[] => {
  const all = ownFiles(template, place)
  const isKernels = ({ destination }: Mount): boolean => KERNELS.test(destination)
  const isInit = ({ destination }: Mount): boolean => destination === initPlaceOf(template)
  const others = all.filter((mount) => !isKernels(mount) && !isInit(mount))
  const init = all.filter(isInit).map((mount) => ({ ...mount, destination: place.initPlace }))
  return [
    ...all.filter(isKernels),
    ...[...volumeMounts(program, place), ...others].sort((a, b) => depthOf(a) - depthOf(b)),
    ...init,
  ]
}

const namespacesOf = (template: Template, { folder, isLinked }: Place) =>
  template.linux.namespaces.map(({ type, ...own }) =>
    type === 'network' && isLinked ? { type, path: `${folder}/t/net` } : { type, ...own },
  )

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
      args: [`${place.initPlace}/hyper-init`],
      user: { ...template.process.user, uid, gid, additionalGids },
      capabilities: capabilitiesOf(template, uid),
      env: environmentOf(template, program, place.id),
      cwd: program.workingDir || '/',
    },
    root: { ...template.root, path: `${place.folder}/t/rootfs` },
    hostname: hostnameOf(place.id),
    mounts: mountsOf(template, program, place),
    linux: {
      ...template.linux,
      cgroupsPath: place.cgroupsPath,
      namespaces: namespacesOf(template, place),
      resources: resourcesOf(template, fence, Math.min(fence.cpus, cpus)),
    },
  }
}
