/**
 * The runner that starts the OCI runtime itself, on the images of the test engine: two agents with
 * folders and cgroups of their own, and what of their containers is still on the host.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Fence } from '../../agent/host-config.ts'
import { type Cgroups, openCgroups } from '../../agent/runner/oci/cgroups.ts'
import {
  createImageRoots,
  type ImageRoot,
  type ImageRoots,
} from '../../agent/runner/oci/image-root.ts'
import { createOciRunner, type OciDeps } from '../../agent/runner/oci/oci.ts'
import { readTemplate, type Template } from '../../agent/runner/oci/template.ts'
import { createZygote } from '../../agent/runner/oci/zygote.ts'
import type { Runner } from '../../agent/runner/runner.ts'
import { findCommand } from '../../cli/setup/engine-install.ts'
import { soon, specOf } from './runner-call.ts'
import { connectRunnerEngine, newIdentity, type RunnerEngine } from './runner-engine.ts'
import type { RunnerBench } from './runner-suite.ts'

/** Why it cannot run here; false where it can. */
export const OCI_SKIP = process.getuid?.() === 0 ? false : 'only root starts the runtime itself'

interface OciAgent {
  readonly home: string
  readonly cgroupName: string
  readonly cgroups: Cgroups
  readonly runner: Runner
  reopen(): Promise<Runner>
  /** Of the same agent, but for these. */
  openOn(changes: Partial<OciDeps>): Runner
}

export interface OciBench extends RunnerBench {
  readonly bench: RunnerEngine
  readonly own: OciAgent
  readonly roots: ImageRoots
  rootOf(image: string): Promise<ImageRoot>
  readonly keeper: string
  readonly runtime: string
  templateOf(profile: Fence['profile']): Promise<Template>
}

/** What the engine hands to its runtime for a function that is fenced in so. */
export const templateBy = async (bench: RunnerEngine, fence: Partial<Fence>): Promise<Template> => {
  const docker = bench.dockerRunner(newIdentity())
  const spec = specOf(bench.images.ubuntu, { fence })
  const container = await docker.start(spec, soon())
  try {
    return await readTemplate(container.id)
  } finally {
    container.detach()
    await docker.remove(container.id, soon())
  }
}

const namesIn = async (folder: string): Promise<readonly string[]> => {
  const rows = await readdir(folder, { withFileTypes: true }).catch(() => [])
  return rows.filter((row) => row.isDirectory()).map((row) => join(folder, row.name))
}

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

/** Mounts of ours that the host sees: there must be none at any time. */
export const mountsOf = async ({ home }: Pick<OciAgent, 'home'>): Promise<readonly string[]> =>
  (await textOf('/proc/self/mountinfo')).split('\n').filter((line) => line.includes(home))

export const processesOf = async (
  { home, cgroupName }: Pick<OciAgent, 'home' | 'cgroupName'>,
  id = '',
): Promise<readonly number[]> => {
  // Keepers are in one beside these, also when they ended and PID 1 has not reaped them.
  const cgroupStart = `/${cgroupName}/${id || 'oci-'}`
  const found: number[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await textOf(`/proc/${pid}/cmdline`)
    const cgroup = await textOf(`/proc/${pid}/cgroup`)
    // This process, and those of the test runner, may have its name in what they are told.
    const isKeeper = command.split('\0').includes(join(home, id))
    const words = command.split('\0')
    const isOfKeeper = words.some((word) => word.startsWith(join(home, id, '/')))
    // gVisor's are told no path of it.
    const isOfRuntime = words.some((word) => (id === '' ? ANY_ID.test(word) : word === id))
    if (isKeeper || isOfKeeper || isOfRuntime || cgroup.includes(cgroupStart))
      found.push(Number(pid))
  }
  return found
}

/** The process of a container's keeper. */
export const keeperOf = async ({ own, keeper }: OciBench, id: string): Promise<number> => {
  for (const pid of await processesOf(own, id)) {
    if ((await textOf(`/proc/${pid}/cmdline`)).startsWith(`${keeper}\0`)) return pid
  }
  throw new Error(`${id} has no keeper`)
}

/** A container's own folder as its keeper sees it: in memory that nobody else has. */
export const memoryOf = async (bench: OciBench, id: string): Promise<string> =>
  join(`/proc/${await keeperOf(bench, id)}/root`, bench.own.home, id, 't')

export const leftoversOf = async (agent: OciAgent): Promise<readonly string[]> => {
  const parents = agent.cgroups.foldersOf('any').map((folder) => dirname(folder))
  const cgroups = (await Promise.all(parents.map(namesIn))).flat()
  return [
    ...(await readdir(agent.home).catch(() => [])).map((name) => `in its folder: ${name}`),
    // Keepers' own is there until the agent stops.
    ...cgroups.filter((path) => !path.endsWith('/keepers')).map((path) => `cgroup: ${path}`),
    ...(await mountsOf(agent)).map((line) => `mount: ${line}`),
    ...(await processesOf(agent)).map((pid) => `process: ${pid}`),
  ]
}

const ANY_ID = /^oci-[0-9a-f]{40}$/

/** Starts all of them under a runtime by name, where one is told. */
const under = (runtime: string, runner: Runner): Runner =>
  runtime === ''
    ? runner
    : {
        ...runner,
        start: (spec, signal) =>
          runner.start({ ...spec, fence: { ...spec.fence, runtime } }, signal),
      }

/** `named`: of the runtimes by name, that of all its containers; '' for the engine's default one. */
export const openOciBench = async (named = ''): Promise<OciBench> => {
  const bench = await connectRunnerEngine()
  const folder = await mkdtemp(join(tmpdir(), 'oci-'))
  const runtime = await findCommand('runc')
  if (runtime === undefined) throw new Error('runc is not installed')
  const namedProgram = named === '' ? '' : await findCommand(named)
  if (namedProgram === undefined) throw new Error(`${named} is not installed`)
  const keeper = join(bench.host.mountDir, 'hyper-keeper')
  const zygote = createZygote({ program: keeper, folder: join(folder, 'door') })
  const roots = createImageRoots(bench.engine, newIdentity().agentId, async () => false)
  const templates = new Map<string, Promise<Template>>()
  const templateOf = (profile: Fence['profile']): Promise<Template> => {
    const template = templates.get(profile) ?? templateBy(bench, { profile })
    templates.set(profile, template)
    return template
  }
  const openAgent = async (): Promise<OciAgent> => {
    const identity = newIdentity()
    const home = join(folder, identity.agentId)
    await mkdir(home)
    const cgroupName = `hyper-test-${randomBytes(6).toString('hex')}`
    const cgroups = await openCgroups(cgroupName)
    const { host } = bench
    const deps = {
      ...{ identity, host, home, zygote, cgroups, templateOf, roots },
      ...{ runtime: () => runtime, link: () => null },
      wordsOf: () => [namedProgram, '--network=none'],
    }
    const openOn: OciAgent['openOn'] = (changes) =>
      under(named, createOciRunner({ ...deps, ...changes }))
    const reopen = async (): Promise<Runner> => openOn({})
    return { home, cgroupName, cgroups, runner: openOn({}), reopen, openOn }
  }
  const own = await openAgent()
  const other = await openAgent()
  return {
    ...{ bench, own, roots, keeper, runtime, templateOf },
    rootOf: (image) => roots.use(image, async (root) => root),
    runner: own.runner,
    reopen: own.reopen,
    foreign: other.runner,
    images: bench.images,
    leftovers: async () => [...(await leftoversOf(own)), ...(await leftoversOf(other))],
    async close() {
      await roots.close()
      for (const { runner, cgroups } of [own, other]) {
        // Of a test that failed.
        for (const { id } of await runner.list(soon())) await runner.remove(id, soon())
        await cgroups.close()
      }
      await zygote.close()
      bench.close()
      await rm(folder, { recursive: true })
    },
  }
}
