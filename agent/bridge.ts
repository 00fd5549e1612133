/**
 * The network of functions that ask for one: a bridge called `hyper`, made by the first agent of an
 * engine and shared by all of them, on which containers do not reach each other, with rules around
 * it (firewall.ts). It has no IPv6.
 *
 *   unknown ─► found or made, rules set      at the start, and whenever the engine answers again
 *   known ─► looked for again                a start failed: another agent's stop may have removed it
 *   known twice ─► the lower id              agents made one each at the same moment: the other is removed,
 *                                            or the lower, where only the other is in use
 *   closed                                   removed with its rules, unless a container is on it
 *
 * Rules belong to the bridge and not to an agent, so that no agent's stop opens the fence of
 * another's containers. A network of this name that is not ours is never touched: functions that
 * ask for a network are then refused here, by its name, and all others run.
 */

import { randomBytes } from 'node:crypto'
import type { Log } from '../daemon/log.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Engine } from './engine.ts'
import {
  type NetworkRow,
  parseNetworkList,
  statusOfRefusal,
  wordsOfRefusal,
} from './engine-answers.ts'
import { bridgeNameOf, type FirewallHost, isBridgeName, setRules, sweepRules } from './firewall.ts'
import { addressOf, engineRangeOf, hasPorts, type Link, ownRangeOf } from './runner/oci/link.ts'

const NAME = 'hyper'
const LABEL = 'network'
const BRIDGE_NAME = 'com.docker.network.bridge.name'
const BRIDGE_ICC = 'com.docker.network.bridge.enable_icc'
const CONFLICT = 409
const BRIDGE_BYTES = 4

export interface Bridge {
  /** The network's id at the engine. START_FAILED: there is none, and why. */
  id(): Promise<string>
  /** How containers that the engine does not start get onto it; null where they cannot. */
  link(id: string): Link | null
  /** Looks for it again; whether that may help who could not start on it. Rejects as `id` does. */
  hasChanged(id: string): Promise<boolean>
  /** Finds or makes it and sets its rules. What is wrong is logged, once. */
  secure(): Promise<void>
  close(): Promise<void>
}

interface Network {
  readonly id: string
  readonly bridge: string
  /** Null where the engine gives out all of its addresses. */
  readonly link: Omit<Link, 'namespace'> | null
}

/** Whether and where containers that the engine does not start can be connected to it. Pure. */
const linkIn = (bridge: string, { IPAM }: NetworkRow): Network['link'] => {
  const { Subnet, Gateway, IPRange } = IPAM?.Config?.[0] ?? {}
  const range = ownRangeOf(Subnet ?? '')
  if (range === null || IPRange !== engineRangeOf(Subnet ?? '')) return null
  return { bridge, gateway: Gateway || addressOf(range.first - range.count), range }
}

/** The network as ours; null where somebody else made it. Pure. */
const oursOf = (row: NetworkRow): Network | null => {
  const { Id, Driver, Labels, Options } = row
  const bridge = Options?.[BRIDGE_NAME] ?? ''
  const isOurs = Driver === 'bridge' && Labels?.hyper === LABEL && isBridgeName(bridge)
  return isOurs && Options?.[BRIDGE_ICC] === 'false'
    ? { id: Id, bridge, link: linkIn(bridge, row) }
    : null
}

const within = (): { abortSignal: AbortSignal } => ({
  abortSignal: AbortSignal.timeout(limits.engineAnswerMs),
})

/** What is there, without a change: whether somebody else’s network has our name, and all bridges. */
export const examineNetwork = async ({
  docker,
}: Pick<Engine, 'docker'>): Promise<{
  readonly isForeign: boolean
  readonly bridges: readonly string[]
}> => {
  const filters = JSON.stringify({ driver: ['bridge'] })
  const rows = parseNetworkList(await docker.listNetworks({ filters, ...within() }))
  const named = rows.filter(({ Name }) => Name === NAME)
  return {
    isForeign: named.length > 0 && named.every((row) => oursOf(row) === null),
    bridges: rows.flatMap(({ Options }) => Options?.[BRIDGE_NAME] ?? []),
  }
}

export const createBridge = (deps: {
  readonly engine: Pick<Engine, 'docker' | 'isUp'>
  readonly host: FirewallHost
  readonly log: Log
}): Bridge => {
  const { host, log } = deps
  const { docker, isUp } = deps.engine
  let known: Network | null = null
  let finding: Promise<Network> | null = null
  let told: string | null = null
  /** How many second ones were removed. */
  let spares = 0

  const list = async (): Promise<readonly NetworkRow[]> => {
    const filters = JSON.stringify({ name: [NAME] })
    const rows = parseNetworkList(await docker.listNetworks({ filters, ...within() }))
    // The engine also lists names that only contain it.
    return rows.filter(({ Name }) => Name === NAME).sort((a, b) => (a.Id < b.Id ? -1 : 1))
  }

  /** The engine knows nothing of those that the OCI runner has put on it. */
  const isInUse = async ({ bridge }: Pick<Network, 'bridge'>): Promise<boolean> =>
    hasPorts(await host.interfaces(), bridge)

  /** One that a container is on stays. */
  const remove = async (network: Pick<Network, 'id' | 'bridge'>): Promise<boolean> => {
    if (await isInUse(network)) return false
    return docker
      .getNetwork(network.id)
      .remove(within())
      .then(
        () => true,
        () => false,
      )
  }

  /**
   * Agents that made one at the same moment made two, and the engine starts nothing on a name that it
   * has twice, whichever it is told by its id. All keep the same one: the lower, unless only the
   * other has containers on it.
   */
  const find = async (): Promise<Network | null> => {
    const rows = await list()
    let [kept, ...others] = rows.flatMap((row) => oursOf(row) ?? [])
    for (const other of others) {
      const isGone = await remove(other)
      if (isGone) spares += 1
      else if (kept !== undefined && (await remove(kept))) {
        spares += 1
        kept = other
      }
    }
    if (kept !== undefined) return kept
    if (rows.length === 0) return null
    throw new HyperError(
      'START_FAILED',
      `the agent’s engine has a network "${NAME}" that is not Hyper Func’s; remove it (\`docker network rm ${NAME}\`), or make the function with --network none`,
    )
  }

  const create = async (bridge: string, IPAM: object): Promise<void> => {
    const Options = {
      [BRIDGE_NAME]: bridge,
      [BRIDGE_ICC]: 'false',
    }
    const body = { Name: NAME, Driver: 'bridge', CheckDuplicate: true, EnableIPv6: false }
    const Labels = { hyper: LABEL }
    try {
      await docker.createNetwork({
        _query: {},
        _body: { ...body, IPAM, Options, Labels },
        ...within(),
      })
    } catch (error) {
      if (statusOfRefusal(error) !== CONFLICT) throw error
    }
  }

  /** The engine chooses the subnet; then it is told to leave half of it to us. */
  const make = async (): Promise<void> => {
    const bridge = bridgeNameOf(randomBytes(BRIDGE_BYTES).toString('hex'))
    await create(bridge, {})
    const made = (await list()).find(({ Options }) => Options?.[BRIDGE_NAME] === bridge)
    const { Subnet, Gateway } = made?.IPAM?.Config?.[0] ?? {}
    const IPRange = engineRangeOf(Subnet ?? '')
    if (made === undefined || IPRange === null) return
    // Another agent that has put a container on it meanwhile keeps it as it is.
    if (await remove({ id: made.Id, bridge }))
      await create(bridge, { Config: [{ Subnet, IPRange, ...(Gateway ? { Gateway } : {}) }] })
  }

  const tell = (words: string): void => {
    if (words === told) return
    told = words
    const what = 'function containers with a network'
    if (words === '') log.info(`${what} are kept from this host’s ports and from metadata`)
    else log.warn({ reason: words }, `${what} can reach this host’s ports and metadata addresses`)
  }

  const findOrMake = async (): Promise<Network> => {
    try {
      let found = await find()
      if (found === null) {
        await make()
        found = await find()
      }
      if (found === null) throw new Error('it is gone as soon as it is made')
      return found
    } catch (error) {
      if (error instanceof HyperError) throw error
      const words = wordsOfRefusal(error).slice(0, limits.engineQuoteCharsMax)
      throw new HyperError('START_FAILED', `no network for the container: ${words}`, {
        cause: error,
      })
    }
  }

  const look = async (): Promise<Network> => {
    known = null
    const found = await findOrMake()
    try {
      await sweepRules(host)
      await setRules(host, found.bridge)
      tell('')
    } catch (error) {
      tell(messageOf(error))
    }
    known = found
    return found
  }

  const lookOnce = (): Promise<Network> => {
    finding ??= look().finally(() => {
      finding = null
    })
    return finding
  }

  return {
    id: async () => (known ?? (await lookOnce())).id,
    link: (id) =>
      known?.id === id && known.link !== null && told === ''
        ? { ...known.link, namespace: host.namespace }
        : null,
    async hasChanged(id) {
      const before = spares
      return (await lookOnce()).id !== id || spares > before
    },
    async secure() {
      try {
        await lookOnce()
      } catch (error) {
        const reason = messageOf(error)
        if (reason !== told) log.warn({ reason }, 'functions with a network cannot run here')
        told = reason
      }
    },
    async close() {
      await finding?.catch(() => undefined)
      const networks = isUp() ? await list().catch(() => []) : []
      for (const ours of networks.map(oursOf)) {
        // One that a container is on stays, and its rules with it.
        if (ours !== null) await remove(ours)
      }
      await sweepRules(host)
    },
  }
}
