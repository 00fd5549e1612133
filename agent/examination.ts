/**
 * What `hyper doctor` asks of a host that runs calls, or is to: its engine, hyper-init, runtimes,
 * the network of functions, disks. It looks and changes nothing.
 */

import { constants } from 'node:fs'
import { access, readFile, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ExaminationConfig, Finding } from '../protocol/daemon.ts'
import { messageOf } from '../protocol/errors.ts'
import { hasNetworkUnder } from '../protocol/func.ts'
import { limits } from '../protocol/limits.ts'
import { examineNetwork } from './bridge.ts'
import { floorOf, type Space } from './disk-marks.ts'
import { type Engine, type EngineFacts, startEngine } from './engine.ts'
import { examineRules, type FirewallHost } from './firewall.ts'
import { machineOf, ownMachine } from './init/programs.ts'
import { mountOptionsOf } from './init-mount.ts'
import { openCgroups } from './runner/oci/cgroups.ts'
import { checkGround } from './runner/oci/ground.ts'
import { callableNames } from './runtimes.ts'

const GiB = 1024 ** 3

const RUNSC =
  'For gVisor: `apt-get install runsc`; in /etc/docker/daemon.json { "runtimes": { "runsc": { "path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"] } } }; then `systemctl reload docker`, or SIGHUP to dockerd.'

const finding = (check: string, state: Finding['state'], message: string, next = ''): Finding => ({
  check,
  state,
  message,
  next,
})

/** Why an engine does not answer, and what to do. Pure. */
const noEngine = (dockerHost: string, words: string): Finding => {
  const next = /EACCES|EPERM|permission denied/i.test(words)
    ? 'Run `sudo usermod -aG docker $USER` and log in again, or run it as root.'
    : 'Start it (`systemctl start docker`), or say in DOCKER_HOST where it is.'
  return finding('engine', 'bad', `no Docker engine answers at ${dockerHost}: ${words}`, next)
}

const engineOf = (dockerHost: string, facts: EngineFacts): readonly Finding[] => {
  const { version, apiVersion, apiTrouble, platform, product, unlimited } = facts
  const said = `${product} ${version}, API ${apiVersion}, ${platform}, at ${dockerHost}`
  if (apiTrouble !== '') return [finding('engine', 'bad', `${said}: ${apiTrouble}`)]
  const found = [
    product === 'Docker'
      ? finding('engine', 'good', said)
      : finding('engine', 'warning', `${said}: untested`, 'Use Docker’s own engine.'),
  ]
  if (unlimited.length > 0) {
    const message = `the kernel does not bound ${unlimited.join(', ')} of containers`
    found.push(
      finding('limits', 'warning', message, 'Boot with cgroup_enable=memory swapaccount=1.'),
    )
  }
  return found
}

const runtimesOf = ({ runtimes, defaultRuntime }: EngineFacts): Finding => {
  const named = callableNames(runtimes)
  const said = `${named.join(', ')}; the default is ${defaultRuntime}`
  if (!hasNetworkUnder(defaultRuntime)) {
    const next = 'Make runc the default-runtime of daemon.json.'
    return finding('runtimes', 'warning', `${said}: no function has a network under it`, next)
  }
  return finding('runtimes', 'good', said, named.includes('runsc') ? '' : RUNSC)
}

/** By what can be seen without a container; the agent tries one. */
const runnerOf = async (
  facts: EngineFacts,
  { initDir }: Pick<ExaminationConfig, 'initDir'>,
): Promise<Finding> => {
  const cgroups = await openCgroups('hyper')
  try {
    const program = await checkGround({ facts, cgroups, keeper: join(initDir, 'hyper-keeper') })
    return finding('runner', 'good', `the agent starts containers by ${program} itself`)
  } catch (error) {
    const message = `the engine starts the containers, not the agent itself: ${messageOf(error)}`
    const next =
      'As root on the engine’s host, with overlay2 and runc, it starts several times as many a second.'
    return finding('runner', 'good', message, next)
  }
}

const networkOf = async (engine: Engine, host: FirewallHost): Promise<readonly Finding[]> => {
  const found: Finding[] = []
  try {
    const { isForeign, bridges } = await examineNetwork(engine)
    if (isForeign) {
      const message = 'the engine has a network "hyper" that is not Hyper Func’s'
      found.push(finding('network', 'bad', message, 'Remove it: `docker network rm hyper`.'))
    }
    await examineRules(host, bridges)
    found.push(finding('firewall', 'good', 'rules can be set'))
  } catch (error) {
    const message = `functions with a network can reach this host’s ports and metadata addresses: ${messageOf(error)}`
    const next =
      'Run the agent as root on the engine’s host, or make functions with --network none.'
    found.push(finding('firewall', 'warning', message, next))
  }
  return found
}

const initOf = async ({
  initDir,
  home,
}: Pick<ExaminationConfig, 'initDir' | 'home'>): Promise<Finding> => {
  const path = join(initDir, 'hyper-init')
  const isBuilt = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
  if (!isBuilt) return finding('hyper-init', 'bad', `${path} is not built`, 'Run `npm run build`.')
  const machine = await machineOf(path)
  if (machine !== ownMachine()) {
    const message = `${path} was made for another kind of machine; the agent compiles it at its start`
    const next = 'It needs a C compiler: `apt-get install gcc libc6-dev`.'
    return finding('hyper-init', 'warning', message, next)
  }
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  if (mountOptionsOf(mounts, home).includes('noexec')) {
    const message = `${home} is on a file system mounted noexec`
    return finding('hyper-init', 'bad', message, 'Set HYPER_HOME to another folder.')
  }
  return finding('hyper-init', 'good', path)
}

/** Of the folder itself, or of the nearest one above it that is there. */
const spaceAt = async (path: string): Promise<Space> => {
  try {
    const { bavail, blocks, bsize } = await statfs(path)
    return { freeBytes: bavail * bsize, allBytes: blocks * bsize }
  } catch (error) {
    if (path === dirname(path)) throw error
    return spaceAt(dirname(path))
  }
}

/** By the floors at which the daemons themselves take nothing more. */
const diskOf = async (
  check: 'state disk' | 'engine disk',
  path: string,
  floor: (space: Space) => number,
): Promise<Finding> => {
  const space = await spaceAt(path)
  const bytesMin = floor(space)
  const said = `${(space.freeBytes / GiB).toFixed(1)} GB free at ${path}`
  const next = `Free some: under ${(bytesMin / GiB).toFixed(2)} GB no calls are taken.`
  return space.freeBytes < bytesMin
    ? finding(check, 'bad', said, next)
    : finding(check, 'good', said)
}

const stateFloorOf = ({ allBytes }: Space): number =>
  Math.min(limits.diskFreeBytesMin, allBytes * limits.diskFreeShareMin)

export const examine = async (
  config: Omit<ExaminationConfig, 'mesh'>,
  host: FirewallHost,
): Promise<readonly Finding[]> => {
  const { dockerHost, home } = config
  const found = [await initOf(config), await diskOf('state disk', home, stateFloorOf)]
  let engine: Engine
  try {
    engine = startEngine(dockerHost)
  } catch (error) {
    return [finding('engine', 'bad', messageOf(error), 'Correct DOCKER_HOST.'), ...found]
  }
  try {
    if (!(await engine.check())) {
      const abortSignal = AbortSignal.timeout(limits.engineAnswerMs)
      const words = await engine.docker.ping({ abortSignal }).then(
        () => 'its answers are not understood',
        (error: unknown) => messageOf(error),
      )
      return [noEngine(dockerHost, words), ...found]
    }
    const facts = engine.facts()
    if (facts === null) return found
    return [
      ...engineOf(dockerHost, facts),
      runtimesOf(facts),
      await runnerOf(facts, config),
      ...(await networkOf(engine, host)),
      ...found,
      await diskOf('engine disk', facts.rootDir, floorOf),
    ]
  } finally {
    engine.close()
  }
}
