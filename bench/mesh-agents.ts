/**
 * A process of light agents, told over IPC what to do (mesh-herd.ts). Times are of CLOCK_MONOTONIC,
 * in ms, which all processes of a host share.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { pino } from 'pino'
import { HyperError } from '../protocol/errors.ts'
import { enrol } from '../protocol/mesh/enrolment.ts'
import { decodeTicket } from '../protocol/mesh/ticket.ts'
import { newKey } from '../test/support/mesh.ts'
import { startLightAgent } from './light-agent.ts'
import { type Answer, nowMs, type Question } from './mesh-herd.ts'

/** Enrolments and first connections side by side, in each process. */
const JOINING = 2

const log = pino({ level: 'silent' })
let agents = 0
let dials: number[] = []
let welcomes: number[] = []
const welcomed = new Set<string>()
let enrolmentsFailed = 0
let onWelcome = (): void => undefined

/** As whoever was told that the coordinator cannot be reached does: again. */
const enrolAtLast = async (options: Parameters<typeof enrol>[0]): Promise<void> => {
  for (;;) {
    try {
      await enrol(options)
      return
    } catch (error) {
      if (!(error instanceof HyperError) || error.code !== 'UNREACHABLE') throw error
      enrolmentsFailed += 1
    }
  }
}

const joinOne = async (text: string): Promise<void> => {
  const ticket = decodeTicket(text)
  const key = await newKey()
  await enrolAtLast({ ticket, key, log })
  agents += 1
  const name = `host-${process.pid}-${agents}`
  await startLightAgent({
    ...{ key, name },
    ...{ coordinator: ticket.coordinator, addresses: ticket.addresses },
    onDial: () => void dials.push(nowMs()),
    onWelcome() {
      welcomes.push(nowMs())
      welcomed.add(name)
      onWelcome()
    },
  })
}

const join = async (ticket: string, count: number): Promise<void> => {
  let left = count
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await joinOne(ticket)
    }
  }
  await Promise.all(Array.from({ length: JOINING }, work))
}

/** Once every agent was welcomed after the question came, or after so long. */
const allBack = (withinMs: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, withinMs)
    onWelcome = () => {
      if (welcomed.size < agents) return
      clearTimeout(timer)
      resolve()
    }
  })

const answer = async (question: Question): Promise<Answer> => {
  dials = []
  welcomes = []
  welcomed.clear()
  enrolmentsFailed = 0
  if (question.type === 'join') await join(question.ticket, question.count)
  if (question.type === 'return') await allBack(question.withinMs)
  if (question.type === 'watch') await pause(question.ms)
  const missing = agents - welcomed.size
  return { number: question.number, dials, welcomes, enrolmentsFailed, missing }
}

process.on('message', (question: Question) => {
  answer(question).then(
    (words) => process.send?.(words),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
// A parent that is gone leaves nothing to do.
process.on('disconnect', () => process.exit(1))
