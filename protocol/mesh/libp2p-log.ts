/**
 * What libp2p and gossipsub report as errors, in our own log at level debug: most of it is other
 * people's network (connections reset, dials refused), and what matters to us we log ourselves.
 * Their chatter (log, trace) is dropped: it formats on every frame.
 */

import { format } from 'node:util'
import type { ComponentLogger, Logger } from '@libp2p/interface'
import type { Logger as Log } from 'pino'
import { messageOf } from '../errors.ts'

const ignore = (): void => undefined

const printable = (value: unknown): unknown => {
  if (value instanceof Error) return messageOf(value)
  return typeof value === 'object' && value !== null ? String(value) : value
}

const createLogger = (log: Log, component: string): Logger =>
  Object.assign((): void => undefined, {
    enabled: false,
    trace: ignore,
    error: (formatter: unknown, ...values: unknown[]): void => {
      if (!log.isLevelEnabled('debug')) return
      // Their own directives (%p peer, %a address, %e error …) are plain strings here.
      const template = String(formatter).replace(/%[abcekmpt]/g, '%s')
      log.debug({ component, detail: format(template, ...values.map(printable)) }, 'libp2p error')
    },
    newScope: (name: string): Logger => createLogger(log, `${component}:${name}`),
  })

export const createLibp2pLog = (log: Log): ComponentLogger => ({
  forComponent: (name) => createLogger(log, name),
})
