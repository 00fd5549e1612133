/** What `hyper doctor` says of a coordinator's members: who is heard, and who is not and why. Pure. */

import type { ListedAgent } from '../client/client.ts'
import type { Finding } from '../protocol/daemon.ts'

const NEXT: Readonly<Record<string, string>> = {
  suspect: 'Wait; where it lasts, run `hyper doctor` on its host.',
  lost: 'On its host: does it run, and does `hyper doctor` there reach this coordinator?',
  'epoch ahead': 'Stop this coordinator if another took over; else start it with --raise-epoch.',
}

/** Those that are well, or away by their own or the operator's word, are one line together. */
export const memberFindings = (agents: readonly ListedAgent[]): readonly Finding[] => {
  const members = agents.filter(({ member }) => member !== false)
  const isUnwell = ({ state, reason }: ListedAgent): boolean =>
    Object.hasOwn(NEXT, state) || (state === 'alive' && reason !== '')
  const unwell = members.filter(isUnwell).map(({ agent, state, reason }): Finding => {
    const next = NEXT[state] ?? 'Run `hyper doctor` on its host.'
    return { check: 'member', state: 'warning', message: `${agent} is ${state}: ${reason}`, next }
  })
  const counts = new Map<string, number>()
  for (const member of members) {
    if (!isUnwell(member)) counts.set(member.state, (counts.get(member.state) ?? 0) + 1)
  }
  if (counts.size === 0) return unwell
  const message = [...counts].map(([state, count]) => `${count} ${state}`).join(', ')
  return [{ check: 'member', state: 'good', message, next: '' }, ...unwell]
}
