/**
 * Faults planted in the shipped source, one at a time, to see that the checker finds them. Each is
 * a change of text that must apply exactly once: where the source moves on, the list must follow.
 */

import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

import { PLANTED_IN_AGENT } from './planted-agent.ts'
import type { Edit, PlantedBug } from './planted-bug.ts'
import { PLANTED_IN_CORE } from './planted-core.ts'
import { PLANTED_IN_LEDGER } from './planted-ledger.ts'

const ROOT = new URL('../../', import.meta.url)

export const PLANTED: readonly PlantedBug[] = [
  ...PLANTED_IN_LEDGER,
  ...PLANTED_IN_CORE,
  ...PLANTED_IN_AGENT,
]

/** The text with the change made. Throws where it does not apply exactly once. */
export const applyEdit = (text: string, { file, find, replace }: Edit): string => {
  const parts = text.split(find)
  if (parts.length !== 2) {
    throw new Error(`${file} has ${parts.length - 1} times: ${find}`)
  }
  return parts.join(replace)
}

/** Modules that are loaded from now on have the fault. */
export const plant = ({ edits }: PlantedBug): void => {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      const own = edits.filter(({ file }) => url === new URL(file, ROOT).href)
      if (own.length === 0) return loaded
      const { source } = loaded
      const text = typeof source === 'string' ? source : new TextDecoder().decode(source)
      return { ...loaded, source: own.reduce(applyEdit, text) }
    },
  })
}

export const pathOf = (file: string): string => fileURLToPath(new URL(file, ROOT))
