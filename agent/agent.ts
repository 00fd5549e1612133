/**
 * Composition root of the agent: builds its parts from a configuration, in the order in which they
 * need each other, and takes them down in the reverse one.
 *
 * It starts without an engine as well, says so, and takes calls once one answers. `stop` drains:
 * no new calls; those that run end within the drain time, else they are stopped and handed back.
 */

import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { claimFolder } from '../daemon/level.ts'
import type { Running } from '../daemon/lifecycle.ts'
import { createLog, type Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { limits } from '../protocol/limits.ts'
import { decodeTicket } from '../protocol/mesh/ticket.ts'
import { PROTOCOL_VERSION } from '../protocol/messages.ts'
import { forgetMembership, settleIdentity } from './membership.ts'
import type { Mesh } from './mesh.ts'
import { openPremises, type Premises } from './premises.ts'
import { together } from './together.ts'

/** Lets running calls end, stops the others, and waits for the last words to be taken. */
const drain = async (
  { attempts }: Premises,
  { drainMs, ackMs }: { readonly drainMs: number; readonly ackMs: number },
  log: Log,
): Promise<void> => {
  attempts.drain(true)
  const isQuiet = (): boolean => attempts.isQuiet()
  try {
    await attempts.until(isQuiet, AbortSignal.timeout(drainMs))
  } catch {
    log.warn('calls did not end within the drain time: they are stopped and handed back')
    attempts.leave()
    await attempts.until(isQuiet, AbortSignal.timeout(limits.startMsMax)).catch(() => undefined)
  }
  const isTaken = (): boolean => attempts.unacknowledged() === 0
  await attempts.until(isTaken, AbortSignal.timeout(ackMs)).catch(() => {
    log.warn('results stay in the outbox until the next start')
  })
}

const stopAgent = async (
  premises: Premises,
  mesh: Mesh,
  config: AgentConfig,
  log: Log,
): Promise<void> => {
  // One that was removed waits for nothing: its calls run elsewhere, and nobody takes its results.
  const none = { drainMs: 0, ackMs: 0 }
  const times = mesh.isRevoked() ? none : { drainMs: config.drainMs, ackMs: limits.helloMs }
  await drain(premises, times, log)
  const hasLeft = config.adHoc && (await mesh.leave())
  await mesh.close()
  // What it learned is written until then.
  if (hasLeft) await forgetMembership(config.home)
  await premises.close()
}

/** `protocol`: the version that it speaks, where it is to be one of an earlier hyper. */
export const startAgent = async (
  config: AgentConfig,
  progress: (message: string) => void,
  stopping?: AbortSignal,
  protocol: number = PROTOCOL_VERSION,
): Promise<Running> => {
  const log = createLog('agent', config.logFormat)
  // A damaged ticket is told before anything is made or started for it.
  if (config.ticket !== null) decodeTicket(config.ticket)
  await claimFolder(config.home)
  const key = await settleIdentity({ ...config, log })
  const agentId = peerIdFromPrivateKey(key).toString()
  // The coordinator is reached while the engine is tried, and what that takes is loaded meanwhile: a host
  // serves the sooner.
  const trying = Promise.withResolvers<void>()
  const opening = openPremises({ ...config, agentId, onTrying: trying.resolve }, log, progress)
  // Of premises that cannot be opened nothing is spent on a ticket.
  opening.then(() => trying.resolve(), trying.reject)
  const reaching = trying.promise
    .then(() => import('./mesh.ts'))
    .then(({ reachCoordinator }) => reachCoordinator({ config, key, protocol, log }))
  try {
    await together([opening, reaching])
  } catch (error) {
    const close = (part: { close(): Promise<void> }): Promise<void> => part.close()
    for (const part of [opening, reaching]) await part.then(close).catch(() => undefined)
    throw error
  }
  const premises = await opening
  const mesh = (await reaching).join(premises)
  try {
    await mesh.untilWelcomed(progress, stopping)
  } catch (error) {
    await mesh.close()
    await premises.close()
    throw error
  }
  return {
    ready: { url: '', peerId: mesh.peerId, listen: '', mesh: [] },
    log,
    serving: mesh.welcomed,
    ended: mesh.ended,
    stop: () => stopAgent(premises, mesh, config, log),
  }
}
