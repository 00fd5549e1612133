/**
 * The runners of this host: the engine's and the OCI runtime's, the choice between them, and those of
 * probes and of templates, which are under other names, so that no sweep takes what they start.
 */

import { join } from 'node:path'
import type { Log } from '../../daemon/log.ts'
import type { AgentConfig } from '../../protocol/daemon.ts'
import { messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Engine } from '../engine.ts'
import type { RunnerHost } from '../host-config.ts'
import type { Images } from '../images.ts'
import { chooseRunner } from './choice.ts'
import { createDockerRunner, type RunnerIdentity } from './docker.ts'
import type { Cgroups } from './oci/cgroups.ts'
import { createDirectRuntimes } from './oci/direct-runtimes.ts'
import { checkGround } from './oci/ground.ts'
import { createImageRoots } from './oci/image-root.ts'
import type { Link } from './oci/link.ts'
import { createOciRunner } from './oci/oci.ts'
import { createTemplates } from './oci/templates.ts'
import { createZygote } from './oci/zygote.ts'
import type { Runner } from './runner.ts'

/** Of one whose containers must be seen to be bounded before any is trusted. */
const checked = (runner: Runner, cgroups: Pick<Cgroups, 'check'>): Runner => ({
  ...runner,
  async start(spec, signal) {
    const container = await runner.start(spec, signal)
    try {
      const { memoryBytes } = spec.fence
      await cgroups.check(container.id, { memoryBytes, pids: limits.pidsMax })
      return container
    } catch (error) {
      container.detach()
      await runner.remove(container.id, signal)
      throw error
    }
  },
})

export const createRunners = (deps: {
  readonly engine: Engine
  readonly identity: RunnerIdentity
  readonly host: RunnerHost
  readonly cgroups: Cgroups
  readonly images: Pick<Images, 'importHello'>
  readonly link: (network: string) => Link | null
  readonly wanted: AgentConfig['runner']
  /** The agent's own folder. */
  readonly home: string
  /** The programs' folder. */
  readonly initDir: string
  readonly log: Log
  readonly signal: AbortSignal
  /** Runs a container of `ociProber` under this runtime, '' for the engine's default one. */
  readonly probeOci: (runtime: string) => Promise<void>
  /** Runs one of `dockerProber`. */
  readonly probeDocker: (runtime: string) => Promise<void>
}) => {
  const { engine, identity, host, cgroups, home } = deps
  const asking = (name: string): RunnerIdentity => ({
    ...identity,
    agentId: `${identity.agentId}.${name}`,
  })
  const probeIdentity = asking('probe')
  const docker = createDockerRunner(engine, identity, host)
  const dockerProber = createDockerRunner(engine, probeIdentity, host)
  const keeper = join(deps.initDir, 'hyper-keeper')
  const zygote = createZygote({ program: keeper, folder: join(home, 'oci-door') })
  const roots = createImageRoots(engine, identity.agentId, (image) => oci.uses(image))
  const templates = createTemplates({
    runner: createDockerRunner(engine, asking('template'), host),
    image: async () => (await deps.images.importHello(deps.signal)).id,
  })
  let runtime = ''
  const directRuntimes = createDirectRuntimes(engine.facts)
  const { link } = deps
  const shared = {
    ...{ host, cgroups, roots, zygote, link },
    templateOf: templates.of,
    runtime: () => runtime,
    wordsOf: directRuntimes.wordsOf,
  }
  const oci = createOciRunner({ ...shared, identity, home: join(home, 'oci') })
  const ociProber = checked(
    createOciRunner({ ...shared, identity: probeIdentity, home: join(home, 'oci-probe') }),
    cgroups,
  )
  const tryOci = async (): Promise<void> => {
    runtime = await checkGround({ facts: engine.facts(), keeper, cgroups })
    await templates.sweep()
    await roots.adopt()
    await deps.probeOci('')
  }
  /** What an earlier process, or a trial that failed, left at the engine. */
  const leaveOci = async (): Promise<void> => {
    await templates.sweep()
    await roots.close()
  }
  const runner = chooseRunner({
    ...{ wanted: deps.wanted, docker, oci, tryOci, leaveOci, log: deps.log },
    canLink: (network) => link(network) !== null,
    defaultRuntime: () => engine.facts()?.defaultRuntime ?? '',
    isDirect: directRuntimes.has,
  })
  /** Directly where that can be, and else through the engine. Throws what is wrong with that. */
  const tryNamed = async (name: string): Promise<void> => {
    if (runner.chosen().name === 'oci') {
      try {
        await directRuntimes.try(name, () => deps.probeOci(name))
        return
      } catch (error) {
        const reason = messageOf(error)
        deps.log.info({ runtime: name, reason }, 'a runtime is left to the engine')
      }
    }
    await deps.probeDocker(name)
  }
  const forgetEngine = engine.onChange(templates.forget)
  return {
    ...{ runner, dockerProber, ociProber, tryNamed, unpin: roots.forget },
    /** What the OCI runner needs to know of a container of `dockerProber` that runs. */
    async learn(containerId: string) {
      if (deps.wanted !== 'docker') await templates.learn('default', containerId)
    },
    async close() {
      forgetEngine()
      await zygote.close()
      // An engine that is away keeps its pins: the next process of this agent takes them over.
      await roots.close().catch(() => undefined)
      await cgroups.close()
    },
  }
}
