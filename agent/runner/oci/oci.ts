/**
 * The runner that starts the OCI runtime itself, on the layers that the engine keeps of the image:
 * for root on the engine's own host. A container is a folder with a keeper beside it (keeper.ts).
 *
 *   (none)    start ─► kept     folder and configuration written, keeper and runtime started
 *   kept      the container ends ─► ended, by its keeper, which removes cgroups and mounts
 *   kept      its keeper was killed ─► orphaned: seen by who asks next; its processes are ended
 *   ended     remove ─► (none)  the folder goes
 */

import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Type from 'typebox'
import { isMissing } from '../../../protocol/errors.ts'
import { limits } from '../../../protocol/limits.ts'
import { createParser } from '../../../protocol/schema.ts'
import { startError } from '../../engine-answers.ts'
import { newInitPlace, type RunnerHost } from '../../host-config.ts'
import type { RunnerIdentity } from '../docker.ts'
import {
  type ContainerSpec,
  cancelled,
  type OwnContainer,
  type Runner,
  type RunningContainer,
} from '../runner.ts'
import type { Cgroups } from './cgroups.ts'
import { configOf, hostnameOf, volumesOf } from './config.ts'
import type { ImageRoot, ImageRoots } from './image-root.ts'
import { endKeeper, isKept, readEnd, startKeeper, untilUnkept } from './keeper.ts'
import { type Link, linkWordsOf } from './link.ts'
import { readResolver } from './resolver.ts'
import type { Template } from './template.ts'
import { identityOf } from './users.ts'
import type { Zygote } from './zygote.ts'

const IMAGE = 'hyper.image'
const ID_BYTES = 20
/** 128 and SIGKILL: of one whose keeper could not write how it ended. */
const KILLED = 137
/** The engine's own ids are hexadecimal. */
const PREFIX = 'oci-'
const HOSTS = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n'

/** Whether it is the id of a container of this runner. */
export const isOciId = (id: string): boolean => id.startsWith(PREFIX)

const parseLabels = createParser(
  Type.Record(Type.String(), Type.String()),
  'STATE_DAMAGED',
  'labels of a container',
)

export interface OciRunner extends Runner {
  /** Whether a container of this image is there: its layers must stay. */
  uses(image: string): Promise<boolean>
}

/** None where its start was cut before they were written. */
const labelsOf = async (folder: string): Promise<Readonly<Record<string, string>>> => {
  try {
    return parseLabels(JSON.parse(await readFile(join(folder, 'labels.json'), 'utf8')))
  } catch {
    return {}
  }
}

export interface OciDeps {
  readonly identity: RunnerIdentity
  readonly host: RunnerHost
  /** Where the containers' folders are. */
  readonly home: string
  /** Of what its keepers are forked. */
  readonly zygote: Pick<Zygote, 'fork'>
  /** The engine's default OCI runtime, as a program. */
  readonly runtime: () => string
  /** Of one by name: its program, and what it is always told. */
  readonly wordsOf: (runtime: string) => readonly string[]
  readonly cgroups: Cgroups
  readonly roots: Pick<ImageRoots, 'use'>
  /** How a container gets onto this network of the engine's; null where it cannot. */
  readonly link: (network: string) => Link | null
  readonly templateOf: (profile: ContainerSpec['fence']['profile']) => Promise<Template>
}

export const createOciRunner = (deps: OciDeps): OciRunner => {
  const { home, cgroups, roots, host, identity } = deps
  const folderOf = (id: string): string => join(home, id)
  /** Containers that this process has begun to write. Those of one that died are anybody's to remove. */
  const unlabelled = new Set<string>()

  /** What its keeper is told of its network. */
  const networkWordsOf = (network: string): readonly string[] => {
    if (network === '') return []
    const link = deps.link(network)
    if (link === null) throw new Error('its network is not to be had from here')
    return linkWordsOf(link)
  }

  /** Until they are written, what is there would be nobody's to a sweep. */
  const writeLabels = async (id: string, spec: ContainerSpec): Promise<void> => {
    const folder = folderOf(id)
    const labels = {
      ...spec.labels,
      hyper: 'call',
      'hyper.agent': identity.agentId,
      'hyper.store': identity.storeId,
      [IMAGE]: spec.image,
    }
    unlabelled.add(id)
    try {
      await mkdir(folder, { mode: 0o700, recursive: true })
      await writeFile(join(folder, 'labels.json'), JSON.stringify(labels))
    } finally {
      unlabelled.delete(id)
    }
  }

  /** A keeper that was killed left its container without one. */
  const endOrphans = async (id: string): Promise<void> => {
    if ((await readEnd(folderOf(id))) !== null) return
    await cgroups.end(id)
  }

  const waitForEnd: Runner['waitForEnd'] = async (id, signal) => {
    await untilUnkept(folderOf(id), signal)
    await endOrphans(id)
  }

  const remove: Runner['remove'] = async (id, signal) => {
    const folder = folderOf(id)
    await endKeeper(folder)
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(limits.startMsMax)])
    await waitForEnd(id, bounded)
    await rm(folder, { recursive: true, force: true })
  }

  const startOn = async (
    spec: ContainerSpec,
    root: ImageRoot,
    template: Template,
    signal: AbortSignal,
  ): Promise<RunningContainer> => {
    const id = `${PREFIX}${randomBytes(ID_BYTES).toString('hex')}`
    const folder = folderOf(id)
    try {
      signal.throwIfAborted()
      const { environment, layers, lower } = root
      const volumes = volumesOf(template, root.volumes)
      const program = {
        identity: identityOf(spec.user, root.users),
        ...{ workingDir: spec.workingDir, environment, volumes },
      }
      const link = networkWordsOf(spec.network)
      const { runtime: name } = spec.fence
      const runtimeWords = name === '' ? [] : deps.wordsOf(name)
      const place = {
        ...{ id, folder, initPlace: newInitPlace() },
        ...{ cgroupsPath: cgroups.pathOf(id), isLinked: link.length > 0 },
      }
      const config = configOf(template, spec.fence, program, place, host.cpus())
      const files = {
        'config.json': JSON.stringify(config),
        hosts: HOSTS,
        hostname: `${hostnameOf(id)}\n`,
        'resolv.conf': spec.network === '' ? '' : await readResolver(),
      }
      await writeLabels(id, spec)
      const task = {
        ...{ id, folder, layers, lower, volumes, link, files },
        ...{ runtime: deps.runtime(), runtimeWords, rootBytes: spec.fence.memoryBytes },
        cgroups: cgroups.foldersOf(id),
      }
      return await startKeeper(deps.zygote, task, signal)
    } catch (error) {
      await remove(id, AbortSignal.timeout(limits.startMsMax)).catch(() => undefined)
      throw error
    }
  }

  const start: Runner['start'] = async (spec, signal) => {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(limits.startMsMax)])
    try {
      const template = await deps.templateOf(spec.fence.profile)
      return await roots.use(spec.image, (root) => startOn(spec, root, template, bounded))
    } catch (error) {
      if (signal.aborted) throw cancelled()
      throw startError(error)
    }
  }

  const readLog: Runner['readLog'] = async (id, sinks, signal) => {
    const read = async (name: string, push: (chunk: Uint8Array) => void): Promise<void> => {
      try {
        push(await readFile(join(folderOf(id), name), { signal }))
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    }
    await read('stdout', sinks.onStdout)
    await read('stderr', sinks.onStderr)
  }

  const describe = async (id: string): Promise<OwnContainer> => {
    const folder = folderOf(id)
    const isRunning = await isKept(folder)
    return { id, isRunning, labels: await labelsOf(folder) }
  }

  const list = async (): Promise<readonly OwnContainer[]> => {
    const names = await readdir(home).catch((error: unknown) => {
      if (isMissing(error)) return []
      throw error
    })
    return Promise.all(names.filter((id) => isOciId(id) && !unlabelled.has(id)).map(describe))
  }

  return {
    start,
    async state(id) {
      const folder = folderOf(id)
      const end = await readEnd(folder)
      if (end !== null) return end
      if (await isKept(folder)) return { isRunning: true, exitCode: 0, oomKilled: false }
      const names = await readdir(folder).catch(() => null)
      return names === null ? null : { isRunning: false, exitCode: KILLED, oomKilled: false }
    },
    // Its root is in memory, and bounded by it: no disk is filled.
    writtenBytes: async () => 0,
    waitForEnd,
    readLog,
    remove,
    list,
    uses: async (image) => (await list()).some(({ labels }) => labels[IMAGE] === image),
  }
}
