/**
 * A whole mesh under one seed: coordinator, agents, their engines and disks, the network between
 * them, and the users. It is made, disturbed for a while (faults.ts), healed, and then everything
 * must come to rest.
 */

import type { Advert } from '../../protocol/advert.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { createAgent, type SimulatedAgent } from './agent.ts'
import type { AgentEars } from './agent-deps.ts'
import { type AccountPlan, type Clients, createClients, register } from './clients.ts'
import { createCoordinator, type Rooms, type SimulatedCoordinator } from './coordinator.ts'
import { createCoordinatorDisk } from './coordinator-disk.ts'
import { createGateway, type Gateway } from './gateway.ts'
import type { History } from './history.ts'
import { type AgentEnd, createLink, type Link } from './link.ts'
import type { Shape } from './profile.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

const MiB = 1024 * 1024

interface Network {
  /** Of agents that reach nobody. */
  readonly cutOff: Set<string>
  readonly weather: { delayMs: number }
  linkOf(agentId: string): Link | undefined
}

export interface World {
  readonly shape: Shape
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
  readonly agents: SimulatedAgent[]
  readonly coordinators: SimulatedCoordinator[]
  readonly network: Network
  readonly gateway: Gateway
  readonly clients: Clients
  /** Whom the address leads to. */
  main(): SimulatedCoordinator
  /** Agents in this set still find the former one at the address. */
  readonly strays: Set<string>
  /** Another process over a disk of its own takes the address. */
  replaceMain(next: SimulatedCoordinator): void
  makeCoordinator(): SimulatedCoordinator
  addAgent(): Promise<void>
  setPace(paceMs: number): void
  /** What no fault of the world explains; null for nothing. */
  broken(): unknown
}

/** Ids that look like those of life, and are the same in every run of a seed. */
const createIds = (kind: string) => {
  let last = 0
  return (): string => {
    last += 1
    return `${kind}-0000-4000-8000-${last.toString(16).padStart(12, '0')}`
  }
}

interface WorldDeps {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly shape: Shape
  readonly history: History
  /** Shown the ledger between its transitions, and after every act. */
  readonly witness: (core: Rooms['core']) => void
}

export const createWorld = async (deps: WorldDeps): Promise<World> => {
  const { scheduler, random, shape, history, witness } = deps
  const [newCallId, newId, newContainerId] = ['00000000', 'aaaaaaaa', 'cccccccc'].map(createIds)
  if (newCallId === undefined || newId === undefined || newContainerId === undefined) {
    throw new Error('three kinds of ids')
  }
  let paceMs = shape.paceMs
  const tempo = { busyMs: 0, idleMs: 0 }
  const setPace = (to: number): void => {
    paceMs = to
    tempo.busyMs = Math.max(to, limits.heartbeatBusyMs)
    tempo.idleMs = Math.max(to, limits.heartbeatIdleMs - 1000)
  }
  setPace(paceMs)
  let broken: unknown = null
  const onBroken = (error: unknown): void => {
    broken ??= error
  }

  const agents: SimulatedAgent[] = []
  const coordinators: SimulatedCoordinator[] = []
  const strays = new Set<string>()
  const links = new Map<string, Link>()
  const network: Network = {
    cutOff: new Set(),
    weather: { delayMs: random.pick([0, 5, 50]) },
    linkOf: (agentId) => links.get(agentId),
  }

  scheduler.watch(() => {
    const rooms = main.rooms()
    try {
      if (rooms !== null) witness(rooms.core)
    } catch (error) {
      onBroken(error)
    }
  })
  const { promise: firstReady, resolve: onFirstReady } = Promise.withResolvers<Rooms>()
  const makeCoordinator = (): SimulatedCoordinator => {
    const name = `coordinator-${coordinators.length + 1}`
    const disk = createCoordinatorDisk({ name, scheduler, random, history })
    disk.health.readMs = shape.readMs
    const coordinator: SimulatedCoordinator = createCoordinator({
      ...{ name, scheduler, history, disk, newId, newCallId, onBroken },
      tickMs: () => paceMs,
      onTransition(core) {
        if (core === main.rooms()?.core) witness(core)
      },
      onStopped: () => scheduler.after(random.between(500, 5_000), coordinator.start),
      onReady: onFirstReady,
    })
    coordinators.push(coordinator)
    return coordinator
  }
  let main = makeCoordinator()
  const targetOf = (agentId: string): SimulatedCoordinator =>
    strays.has(agentId) ? (coordinators[0] ?? main) : main

  const dial = (agentId: string, agentProcess: Process, ears: AgentEars): AgentEnd | null => {
    const target = targetOf(agentId)
    const coordinatorProcess = target.process()
    const rooms = target.rooms()
    if (network.cutOff.has(agentId) || coordinatorProcess === null || rooms === null) return null
    if (!rooms.membership.isMember(agentId)) throw new HyperError('NOT_A_MEMBER', 'not a member')
    const link = createLink({
      ...{ agentId, scheduler, random, weather: network.weather, agentProcess },
      ...{ coordinatorProcess, ...ears },
    })
    links.set(agentId, link)
    coordinatorProcess.take(() => rooms.roster.take(link.memberChannel, []))
    return link.agentEnd
  }

  /** Soft: it may be lost, doubled, or overtaken by a later one. */
  const gossip = (agentId: string, advert: Advert): void => {
    if (network.cutOff.has(agentId)) return
    const times = random.chance(shape.gossipLoss) ? 0 : random.chance(shape.gossipLoss / 2) ? 2 : 1
    for (let left = times; left > 0; left -= 1) {
      const delayMs = random.chance(shape.gossipLoss) ? random.below(20_000) : random.below(100)
      scheduler.after(delayMs, () => targetOf(agentId).advertised(agentId, advert))
    }
  }

  const createMember = (agentId: string): SimulatedAgent => {
    const agent = createAgent({
      ...{ agentId, scheduler, random, history, newContainerId, isLate: shape.isLate },
      slots: random.between(1, 4),
      memoryBytes: random.pick([128, 256, 512]) * MiB,
      labels: { name: agentId },
      drift: 1 + (random.fraction() - 0.5) / 50,
      tempo,
      dial: (process, ears) => dial(agentId, process, ears),
      gossip: (advert) => gossip(agentId, advert),
    })
    agents.push(agent)
    return agent
  }

  let members = 0
  const admit = async (rooms: Rooms): Promise<void> => {
    members += 1
    const agentId = `agent-${members}`
    const invitation = `invitation-${members}`
    await rooms.membership.addInvite(invitation, {
      ...{ uses: 1, expiresMs: Number.MAX_SAFE_INTEGER, labels: {} },
    })
    await rooms.membership.admit(invitation, agentId)
    createMember(agentId).start()
  }

  const clientWeather = { delayMs: random.pick([1, 10, 100, 2_000]), breaks: shape.breaks }
  const gateway = createGateway({
    ...{ scheduler, random, history, weather: clientWeather, coordinator: () => main },
  })
  const { isLarge } = shape
  const isPolite = shape.profile.name === 'calm'
  const clients = createClients({ scheduler, random, history, gateway, isLarge, isPolite })

  /** The agents are there, one of them pulls each account's image, and everything is registered. */
  const found = async (rooms: Rooms): Promise<void> => {
    for (let left = shape.agents; left > 0; left -= 1) await admit(rooms)
    const plans: AccountPlan[] = Array.from({ length: shape.accounts }, (_, at) => ({
      name: `account-${at + 1}`,
      quota: random.between(1, 4),
    }))
    clients.funcs.push(
      ...(await register({ random, history, scheduler, isLarge }, rooms, main.name, plans)),
    )
    main.disk.health.writeMs = shape.writeMs
  }
  main.start()
  let isFounded = false
  firstReady.then(found).then(() => {
    isFounded = true
  }, onBroken)
  await scheduler.run(() => isFounded || broken !== null, scheduler.nowMs() + 60_000)

  return {
    ...{ shape, scheduler, random, history, agents, coordinators, network, gateway, clients },
    ...{ strays, makeCoordinator },
    main: () => main,
    replaceMain(next) {
      main = next
    },
    async addAgent() {
      await gateway.request(admit)
    },
    setPace,
    broken: () => broken,
  }
}
