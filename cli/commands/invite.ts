/** `hyper invite`: a ticket, and the command line for the other host. */

import { limits } from '../../protocol/limits.ts'
import type { Input } from '../input.ts'
import { parseCount, parseDurationMs, parsePairs } from '../quantity.ts'

export const invite = async ({ flags, output, connect }: Input): Promise<undefined> => {
  const uses = parseCount(flags.text('uses') ?? '1', '--uses', {
    min: 1,
    max: limits.inviteUsesMax,
  })
  const expires = flags.text('expires')
  const expiresMs =
    expires === undefined ? limits.inviteMsDefault : parseDurationMs(expires, '--expires')
  const labels = parsePairs(flags.texts('label'), '--label')
  const isLabelled = Object.keys(labels).length > 0
  const client = await connect()
  const made = await client.invite({
    ...{ uses, expiresMs },
    ...(isLabelled ? { labels } : {}),
    ...(flags.has('lan') ? { lan: true } : {}),
  })
  const { ticket, peerId } = made
  if (output.isJson) output.json({ ticket, peerId, expires: made.expires, uses: made.uses })
  else if (output.isQuiet) output.line(ticket)
  else {
    output.line(ticket)
    output.line('')
    output.line('On the other host, which needs Docker and this program:')
    output.line(`  hyper agent --join ${ticket}`)
    output.line('or only until Ctrl-C:')
    output.line(`  hyper join ${ticket}`)
    output.note(
      `It holds for ${made.uses === 1 ? 'one host' : `${made.uses} hosts`}, until ${made.expires}.`,
    )
  }
  return undefined
}
