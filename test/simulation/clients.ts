/**
 * The users of a run: they call functions, ask for what became of their calls, lose patience, cancel,
 * and change what is registered. What they know of a call is its id and its function.
 */

import type { Account } from '../../coordinator/ports.ts'
import type { Rooms } from './coordinator.ts'
import type { Gateway } from './gateway.ts'
import type { History } from './history.ts'
import type { Random } from './random.ts'
import type { Scheduler } from './scheduler.ts'
import { createPlan, encodeInput, IMAGE, KINDS, specOf } from './workload.ts'

export interface KnownFunc {
  readonly funcId: string
  readonly accountId: string
  readonly name: string
  isRemoved: boolean
}

interface KnownCall {
  readonly callId: string
  readonly func: KnownFunc
}

interface ClientsDeps {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
  readonly gateway: Gateway
  /** Outputs near the bound, so that they rotate. */
  readonly isLarge: boolean
  /** No client loses patience, cancels or breaks off. */
  readonly isPolite: boolean
}

export interface AccountPlan {
  readonly name: string
  readonly quota: number
}

const accountNamed = (rooms: Rooms, accountId: string): Account | undefined =>
  rooms.accounts.list().find(({ id }) => id === accountId)

/** Registers accounts and functions on a coordinator that has just begun. */
export const register = async (
  deps: Pick<ClientsDeps, 'random' | 'history' | 'scheduler' | 'isLarge'>,
  rooms: Rooms,
  coordinator: string,
  plans: readonly AccountPlan[],
): Promise<KnownFunc[]> => {
  const { random, history } = deps
  const funcs: KnownFunc[] = []
  for (const { name, quota } of plans) {
    await rooms.accounts.create(name, quota)
    const account = rooms.accounts.list().find((one) => one.name === name)
    if (account === undefined) throw new Error('the account was made')
    const { id: accountId } = account
    history.record({ type: 'quota-asked', accountId, quota })
    history.record({ type: 'quota-told', accountId, quota })
    await pullFirst(deps.scheduler, rooms, account)
    const count = deps.isLarge ? 1 : random.between(2, 4)
    for (let at = 0; at < count; at += 1) {
      const kind = deps.isLarge || at === 0 ? (KINDS[0] ?? random.pick(KINDS)) : random.pick(KINDS)
      const funcName = `${name}-${at}`
      const { id, func } = await rooms.funcs.create(account, specOf(funcName, kind))
      funcs.push({ funcId: id, accountId, name: funcName, isRemoved: false })
      history.record({
        type: 'function',
        ...{ coordinator, funcId: id, accountId },
        ...factsOf(rooms, id, func.Revision),
      })
    }
  }
  return funcs
}

/** Pulls the image of an account's first function, once an agent is there that stays for it. */
const pullFirst = async (scheduler: Scheduler, rooms: Rooms, account: Account): Promise<void> => {
  const isPulled = await rooms.images.pin(account, IMAGE.reference).then(
    () => true,
    () => false,
  )
  if (isPulled) return
  await scheduler.pause(100)
  await pullFirst(scheduler, rooms, account)
}

const factsOf = (rooms: Rooms, funcId: string, revision: number) => {
  const stored = rooms.funcs.revision(funcId, revision)
  if (stored === null) throw new Error('the revision is stored')
  const { timeoutMs, memoryBytes, atMostOnce, maxAttempts, retryOnExit } = rooms.funcs.terms(stored)
  const hasConstraints = Object.keys(stored.func.Constraints).length > 0
  const isDemanding = hasConstraints || stored.func.ContainerSize !== 's1'
  return { revision, timeoutMs, memoryBytes, atMostOnce, maxAttempts, retryOnExit, isDemanding }
}

export const createClients = (deps: ClientsDeps) => {
  const { scheduler, random, history, gateway, isPolite } = deps
  const funcs: KnownFunc[] = []
  const known = new Map<string, KnownCall>()
  let busy = 0
  /** Of quotas: the last word counts. */
  let changing = 0
  let isClosing = false

  const begin = (life: () => Promise<void>): void => {
    busy += 1
    life().then(
      () => {
        busy -= 1
      },
      (error: unknown) => {
        throw error
      },
    )
  }

  /** What a client does with a call whose id it knows. */
  const follow = async ({ callId, func }: KnownCall): Promise<void> => {
    for (let left = random.below(5); left > 0; left -= 1) {
      await scheduler.pause(random.waitMs(8_000))
      const dice = random.below(10)
      if (dice === 0 && !isPolite) {
        const reply = await gateway.request((rooms) => rooms.core.calls.cancel(func.funcId, callId))
        if (reply.kind === 'answered') {
          history.record({ type: 'cancelled', coordinator: reply.coordinator, callId })
        }
      } else if (dice < 4) await gateway.wait(func.funcId, callId, random.waitMs(30_000))
      else {
        const reply = await gateway.get(func.funcId, callId, true)
        const isEnded =
          reply.kind === 'answered' &&
          reply.value.status >= 200 &&
          reply.value.status !== 201 &&
          reply.value.status !== 202
        // Once more within the grace, or after it.
        if (isEnded && random.chance(0.5)) {
          await scheduler.pause(
            random.chance(0.7) ? random.below(50_000) : random.between(65_000, 90_000),
          )
          await gateway.get(func.funcId, callId, true)
        }
      }
    }
  }

  const callOnce = async (func: KnownFunc): Promise<void> => {
    const op = gateway.nextOp()
    const plan = createPlan(random, op, deps.isLarge)
    const padding = random.chance(0.03) ? random.between(10_000, 100_000) : 0
    const input = encodeInput(plan, padding)
    const { funcId, accountId } = func
    const patienceMs = isPolite || random.chance(0.7) ? 3_600_000 : random.waitMs(5_000)
    const callId = random.chance(0.4)
      ? await gateway.callSync(op, funcId, accountId, input, patienceMs)
      : await gateway.call(op, funcId, accountId, input)
    if (callId === null) return
    const call = { callId, func }
    known.set(callId, call)
    await follow(call)
  }

  const update = async (func: KnownFunc): Promise<void> => {
    await gateway.request(async (rooms, _process, coordinator) => {
      const account = accountNamed(rooms, func.accountId)
      const stored = rooms.funcs.byId(func.funcId)
      if (account === undefined || stored === null) return
      // Every revision has a timeout of its own, so that a container can tell which it is of.
      const Timeout = stored.func.Timeout === 0 ? 0 : stored.func.Timeout + 1
      const writing = rooms.funcs.update(account, func.name, { Timeout })
      const facts = factsOf(rooms, func.funcId, stored.func.Revision + 1)
      const { funcId, accountId } = func
      history.record({ type: 'function', coordinator, funcId, accountId, ...facts })
      await writing
    })
  }

  const remove = async (func: KnownFunc): Promise<void> => {
    await gateway.request(async (rooms, _process, coordinator) => {
      const account = accountNamed(rooms, func.accountId)
      if (account === undefined || rooms.funcs.byId(func.funcId) === null) return
      func.isRemoved = true
      history.record({ type: 'function-removing', coordinator, funcId: func.funcId })
      await rooms.funcs.remove(account, func.name, true)
    })
  }

  const setQuota = async (accountId: string, quota: number): Promise<boolean> => {
    changing += 1
    const reply = await gateway.request(async (rooms) => {
      const account = accountNamed(rooms, accountId)
      if (account === undefined) return
      history.record({ type: 'quota-asked', accountId, quota })
      await rooms.accounts.setQuota(account.name, quota)
    })
    changing -= 1
    if (reply.kind !== 'answered') return false
    history.record({ type: 'quota-told', accountId, quota })
    return true
  }

  const removeAccount = async (accountId: string): Promise<void> => {
    for (const func of funcs) if (func.accountId === accountId) await remove(func)
    await gateway.request(async (rooms) => {
      const account = accountNamed(rooms, accountId)
      if (account !== undefined) await rooms.accounts.remove(account.name)
    })
  }

  const look = async (func: KnownFunc): Promise<void> => {
    await gateway.request(async (rooms) => {
      const counts = rooms.core.calls.counts(func.funcId)
      if (Object.values(counts).some((count) => count < 0)) throw new Error('a count is negative')
      await rooms.core.calls.list(func.funcId, 20, null)
    })
  }

  const living = (): KnownFunc[] => funcs.filter((func) => !func.isRemoved)

  return {
    funcs,
    isIdle: () => busy === 0,
    callSome: (): void => {
      const some = living()
      if (some.length > 0) begin(() => callOnce(random.pick(some)))
    },
    changeSome(): void {
      const some = living()
      if (some.length === 0 || isClosing) return
      const func = random.pick(some)
      const dice = random.below(12)
      if (dice < 4) begin(() => update(func))
      else if (dice < 8) {
        begin(async () => void (await setQuota(func.accountId, random.below(5))))
      } else if (dice < 10) begin(() => look(func))
      else if (dice === 10 && some.length > 1) begin(() => remove(func))
      else if (new Set(some.map((one) => one.accountId)).size > 1 && random.chance(0.3)) {
        begin(() => removeAccount(func.accountId))
      }
    },
    /** So that all that waits can run. */
    openQuotas(): void {
      isClosing = true
      begin(async () => {
        while (changing > 0) await scheduler.pause(1_000)
        for (const accountId of new Set(funcs.map((func) => func.accountId))) {
          while (!(await setQuota(accountId, 4))) await scheduler.pause(1000)
        }
      })
    },
    /** Asks once more for every call, and takes what is there. */
    lookAtAll: (): void =>
      begin(async () => {
        history.record({ type: 'last-look' })
        for (const { callId, func } of known.values()) {
          await gateway.get(func.funcId, callId, false)
        }
      }),
    knownCalls: (): ReadonlySet<string> => new Set(known.keys()),
  }
}

export type Clients = ReturnType<typeof createClients>
