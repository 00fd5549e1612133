/**
 * Light agents by the hundred, in several processes (mesh-agents.ts) behind the bench's wire: what is
 * asked is asked of all of them at once.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const AGENTS = fileURLToPath(new URL('mesh-agents.ts', import.meta.url))

/** CLOCK_MONOTONIC, which all processes of a host share, in ms. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6

type Wish =
  /** Enrols so many more, each welcomed when it is answered. */
  | { readonly type: 'join'; readonly ticket: string; readonly count: number }
  /** Answered when every one has been welcomed anew, or after so long. */
  | { readonly type: 'return'; readonly withinMs: number }
  | { readonly type: 'watch'; readonly ms: number }
export type Question = Wish & { readonly number: number }

/** When the agents dialled and were welcomed since the question, in ms. */
export interface Answer {
  readonly number: number
  readonly dials: readonly number[]
  readonly welcomes: readonly number[]
  /** Enrolments that had to be tried again. */
  readonly enrolmentsFailed: number
  /** Agents that have not been welcomed since the question. */
  readonly missing: number
}
type Times = Omit<Answer, 'number'>

export interface Herd {
  join(ticket: string, count: number): Promise<Times>
  return(withinMs: number): Promise<Times>
  watch(ms: number): Promise<Times>
  close(): Promise<void>
}

const sum = (answers: readonly Answer[]): Times => {
  const sorted = (of: 'dials' | 'welcomes') =>
    answers.flatMap((one) => one[of]).sort((a, b) => a - b)
  const added = (of: 'enrolmentsFailed' | 'missing') =>
    answers.reduce((all, one) => all + one[of], 0)
  return {
    ...{ dials: sorted('dials'), welcomes: sorted('welcomes') },
    ...{ enrolmentsFailed: added('enrolmentsFailed'), missing: added('missing') },
  }
}

const startMember = (namespace: string) => {
  const child: ChildProcess = spawn('nsenter', [`--net=${namespace}`, process.execPath, AGENTS], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const waiting = new Map<number, PromiseWithResolvers<Answer>>()
  let number = 0
  let isClosing = false
  child.on('message', (answer: Answer) => waiting.get(answer.number)?.resolve(answer))
  child.on('exit', (code) => {
    if (isClosing) return
    for (const one of waiting.values()) one.reject(new Error(`agents ended with ${code}`))
  })
  return {
    async ask(wish: Wish): Promise<Answer> {
      number += 1
      const answered = Promise.withResolvers<Answer>()
      waiting.set(number, answered)
      child.send({ ...wish, number } satisfies Question)
      return answered.promise
    },
    async close() {
      isClosing = true
      const isOver = child.exitCode !== null || child.signalCode !== null
      child.kill('SIGKILL')
      if (!isOver) await once(child, 'exit')
    },
  }
}

export const startHerd = (namespace: string, processes: number): Herd => {
  const members = Array.from({ length: processes }, () => startMember(namespace))
  const askAll = async (wish: (at: number) => Wish): Promise<Times> =>
    sum(await Promise.all(members.map((member, at) => member.ask(wish(at)))))
  return {
    join(ticket, count) {
      const share = Math.floor(count / processes)
      const rest = count % processes
      return askAll((at) => ({ type: 'join', ticket, count: share + (at < rest ? 1 : 0) }))
    },
    return: (withinMs) => askAll(() => ({ type: 'return', withinMs })),
    watch: (ms) => askAll(() => ({ type: 'watch', ms })),
    async close() {
      await Promise.all(members.map((member) => member.close()))
    },
  }
}
