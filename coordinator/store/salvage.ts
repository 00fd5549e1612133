/**
 * Where the operator accepts that data is lost: what cannot be read and what has lost its other half
 * goes, and the rest is consistent again. Each loss is told before anything is written. Cut off in
 * the middle, it is begun again: the sums are written last.
 */

import { messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Repair, TellLoss } from './damage.ts'
import type { Drive, RawOperation } from './drive.ts'
import { recount } from './recount.ts'
import { encodeRow } from './row-form.ts'
import type { Sums } from './sums.ts'
import { isDamage, survey } from './survey.ts'

const repairOf = ({ table, key, value }: Repair): RawOperation =>
  value === undefined
    ? { type: 'del', table, key }
    : { type: 'put', table, key, value: encodeRow(value) }

/** Tells every loss, makes the rest consistent, and gives its sums. */
export const salvage = async (
  drive: Drive,
  sums: Sums | undefined,
  tellLoss: TellLoss,
): Promise<Sums> => {
  const damages = await survey(drive, sums).catch(async (error: unknown) => {
    if (!isDamage(error)) throw error
    const copy = await drive.repair()
    tellLoss(`${messageOf(error)}; what could be read was kept, the former files are in ${copy}`)
    return survey(drive, sums)
  })
  if (sums !== undefined && damages.length === 0) return sums
  for (const { what } of damages) tellLoss(what)
  const repairs = damages.flatMap(({ repair }) => repair.map(repairOf))
  while (repairs.length > 0) await drive.batch(repairs.splice(0, limits.pageRowsMax))
  return recount(drive, sums?.commit ?? 0)
}
