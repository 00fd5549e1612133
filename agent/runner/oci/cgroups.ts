/**
 * Where the cgroups of our containers are: a parent of our own in every hierarchy of the host. Beside
 * them is `keepers`, where keepers move themselves to: a unit's stop must not be theirs.
 */

import { access, readdir, readFile, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isMissing, messageOf } from '../../../protocol/errors.ts'
import { limits } from '../../../protocol/limits.ts'

export interface Cgroups {
  /** Why none can be had; '' where they can. */
  readonly trouble: string
  /** What the runtime is told. */
  pathOf(id: string): string
  /** The folders of that cgroup. */
  foldersOf(id: string): readonly string[]
  /** Throws where the kernel does not hold it to these bounds. */
  check(id: string, bounds: { readonly memoryBytes: number; readonly pids: number }): Promise<void>
  /** Ends every process in it and removes it. Throws where one does not go. */
  end(id: string): Promise<void>
  /** Removes the parents, where nothing is in them but the folder of keepers that are gone. */
  close(): Promise<void>
}

/** Of its id, in a name that must be short. */
const AGENT_CHARS = 8
/** A keeper that was seen to end is in its cgroup for a moment more. */
const CLOSE_TRIES = 10

/** Of all cgroups of this agent's containers. Pure. */
export const cgroupParentOf = (agentId: string): string => `hyper-${agentId.slice(-AGENT_CHARS)}`

/** Mount points of all hierarchies. Throws where what we see is only a part of the host's. Pure. */
export const hierarchiesOf = (mountInfo: string): readonly string[] => {
  const found: string[] = []
  for (const line of mountInfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , , root, point] = before.split(' ')
    if (!/^cgroup2? /.test(after) || point === undefined) continue
    if (root !== '/') throw new Error('the agent is in a cgroup namespace')
    found.push(point)
  }
  if (found.length === 0) throw new Error('no cgroups are mounted')
  return found
}

/** Version 1 and 2. */
const MEMORY_FILES = ['memory.limit_in_bytes', 'memory.max']
const PIDS_FILES = ['pids.max']

const findHierarchies = async () => {
  try {
    const found = hierarchiesOf(await readFile('/proc/self/mountinfo', 'utf8'))
    return { hierarchies: found, trouble: '' }
  } catch (error) {
    return { hierarchies: [], trouble: messageOf(error) }
  }
}

/** `name` of the parent. */
export const openCgroups = async (name: string): Promise<Cgroups> => {
  const { hierarchies, trouble } = await findHierarchies()
  const parents = hierarchies.map((point) => join(point, name))
  const foldersOf = (id: string): readonly string[] => parents.map((parent) => join(parent, id))
  const removeAll = async (folders: readonly string[]): Promise<void> => {
    for (const folder of folders) await rmdir(folder).catch(() => undefined)
  }
  const killAll = async (folders: readonly string[]): Promise<void> => {
    for (const folder of folders) {
      const pids = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '')
      for (const pid of pids.split('\n').filter((text) => Number(text) > 1)) {
        try {
          process.kill(Number(pid), 'SIGKILL')
        } catch {
          // It has ended.
        }
      }
    }
  }
  const isThere = async (folder: string): Promise<boolean> =>
    access(folder).then(
      () => true,
      () => false,
    )
  const removeParents = async (): Promise<void> => {
    for (const parent of parents) {
      const rows = await readdir(parent, { withFileTypes: true }).catch((error: unknown) => {
        if (isMissing(error)) return []
        throw error
      })
      await removeAll(rows.filter((row) => row.isDirectory()).map((row) => join(parent, row.name)))
    }
    await removeAll(parents)
  }
  return {
    trouble,
    pathOf: (id) => `/${name}/${id}`,
    foldersOf,
    async check(id, { memoryBytes, pids }) {
      const holds = async (names: readonly string[], bound: number): Promise<void> => {
        for (const folder of foldersOf(id)) {
          for (const name of names) {
            const text = await readFile(join(folder, name), 'utf8').catch(() => '')
            if (text.trim() === `${bound}`) return
          }
        }
        throw new Error(`no cgroup of a container says ${names.join(' or ')} ${bound}`)
      }
      await holds(MEMORY_FILES, memoryBytes)
      await holds(PIDS_FILES, pids)
    },
    async end(id) {
      const folders = foldersOf(id)
      const until = performance.now() + limits.cgroupGoneMs
      for (;;) {
        const there = await Promise.all(folders.map(isThere))
        if (!there.includes(true)) return
        if (performance.now() > until) throw new Error(`processes of ${id} do not end`)
        // Again and again: they may fork while they are listed, and take a moment to go.
        await killAll(folders)
        await removeAll(folders)
        await pause(limits.cgroupPauseMs)
      }
    },
    async close() {
      for (let tries = 0; tries < CLOSE_TRIES; tries += 1) {
        await removeParents()
        if (!(await Promise.all(parents.map(isThere))).includes(true)) return
        await pause(limits.cgroupPauseMs)
      }
    },
  }
}
