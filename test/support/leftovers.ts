/**
 * What a test run left on the machine: processes, mounts, cgroups. Only looks; ends nothing.
 */

import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

const linkOf = (path: string): Promise<string> => readlink(path).catch(() => '')

const isPid = (name: string): boolean => /^\d+$/.test(name)

const nameProcess = async (pid: string): Promise<string> => {
  const commandLine = await textOf(join('/proc', pid, 'cmdline'))
  return `process ${pid}: ${commandLine.replaceAll('\0', ' ').slice(0, 200)}`
}

/** Processes that carry `HYPER_TEST_DIR=dir` in their environment. */
const findMarked = async (dir: string): Promise<readonly string[]> => {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter(isPid)) {
    const environment = await textOf(join('/proc', pid, 'environ'))
    if (environment.split('\0').includes(`HYPER_TEST_DIR=${dir}`))
      found.push(await nameProcess(pid))
  }
  return found
}

/** Processes in one of the namespaces, each named as the kernel does: `pid:[4026532000]`. */
const findInNamespaces = async (namespaces: readonly string[]): Promise<readonly string[]> => {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter(isPid)) {
    const links = await Promise.all(
      ['pid', 'net', 'mnt'].map((kind) => linkOf(join('/proc', pid, 'ns', kind))),
    )
    if (links.some((link) => namespaces.includes(link))) found.push(await nameProcess(pid))
  }
  return found
}

const findMounts = async (dir: string): Promise<readonly string[]> =>
  (await textOf('/proc/self/mountinfo'))
    .split('\n')
    .filter((line) => line.includes(`${dir}/`))
    .map((line) => `mount: ${line}`)

const findCgroups = async (name: string): Promise<readonly string[]> => {
  const root = '/sys/fs/cgroup'
  const hierarchies = await readdir(root).catch(() => [])
  const paths = [join(root, name), ...hierarchies.map((hierarchy) => join(root, hierarchy, name))]
  const present = await Promise.all(
    paths.map((path) =>
      readdir(path).then(
        () => true,
        () => false,
      ),
    ),
  )
  return paths.filter((_path, index) => present[index] === true).map((path) => `cgroup: ${path}`)
}

/** One line for each thing that is there. */
export const findLeftovers = async (of: {
  readonly dir: string
  readonly cgroup?: string
  readonly namespaces?: readonly string[]
}): Promise<readonly string[]> => [
  ...(await findMarked(of.dir)),
  ...(await findInNamespaces(of.namespaces ?? [])),
  ...(await findMounts(of.dir)),
  ...(of.cgroup === undefined ? [] : await findCgroups(of.cgroup)),
]

/** The same, after what is on its way out had some time to go. */
export const waitForNoLeftovers = async (
  of: Parameters<typeof findLeftovers>[0],
  timeoutMs: number,
): Promise<readonly string[]> => {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await findLeftovers(of)
    if (found.length === 0 || performance.now() > deadline) return found
    await pause(50)
  }
}
