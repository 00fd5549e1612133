/** The sums as they stand on the disk: what a start has to find again (sums.ts says what they are). */

import type { TellLoss } from './damage.ts'
import type { Drive } from './drive.ts'
import { salvage } from './salvage.ts'
import { decodeSums, emptySums, isSummed, SUMS_ROW, type Sums } from './sums.ts'
import { damageOf, isDamage } from './survey.ts'
import { SUMMED } from './tables.ts'

export const readSums = async (drive: Drive): Promise<Sums | undefined> => {
  const [sealed] = await drive.getMany([SUMS_ROW])
  return sealed === undefined ? undefined : decodeSums(sealed)
}

const isEmpty = async (drive: Drive): Promise<boolean> => {
  for (const table of SUMMED) {
    const rows = await drive.page(table, { limit: 2 })
    if (rows.some(([key]) => isSummed(table, key))) return false
  }
  return true
}

/**
 * There are none only where there is nothing at all. Throws STATE_DAMAGED where they cannot be read;
 * with `tellLoss`, what is left of the disk is made consistent, and the sums are of that.
 */
export const loadSums = async (drive: Drive, tellLoss?: TellLoss): Promise<Sums> => {
  try {
    const sums = await readSums(drive)
    if (sums === undefined && (await isEmpty(drive))) return emptySums()
    if (tellLoss !== undefined) return await salvage(drive, sums, tellLoss)
    if (sums !== undefined) return sums
  } catch (error) {
    if (!isDamage(error)) throw error
    if (tellLoss !== undefined) return salvage(drive, undefined, tellLoss)
  }
  throw await damageOf(drive, undefined)
}
