/**
 * Runtimes that functions ask for by name and that are started without the engine: those we know, once
 * a container of ours ran so, with the words that the engine had for them then.
 *
 *   unknown ─► tried ─► direct      for as long as the engine has the same words for it
 *                   └─► the engine's
 */

import type { EngineFacts } from '../../engine.ts'
import { findNamedRuntime } from './ground.ts'

interface Tried {
  readonly told: string
  /** The program by its full path, and its arguments. */
  readonly words: readonly string[]
}

export const createDirectRuntimes = (facts: () => Pick<EngineFacts, 'runtimeWords'> | null) => {
  const tried = new Map<string, Tried>()
  let trying: (Tried & { readonly name: string }) | null = null
  const toldOf = (name: string): string => JSON.stringify(facts()?.runtimeWords[name] ?? null)

  return {
    has: (name: string): boolean => tried.get(name)?.told === toldOf(name),
    /** Of one that is direct, or being tried; the same as then, whatever the engine says since. */
    wordsOf(name: string): readonly string[] {
      const found = trying?.name === name ? trying : tried.get(name)
      if (found === undefined) throw new Error(`the runtime ${name} is started by the engine alone`)
      return found.words
    },
    /** `probe` runs a container of it. Throws why it is the engine's. One at a time. */
    async try(name: string, probe: () => Promise<void>): Promise<void> {
      const told = toldOf(name)
      trying = { name, told, words: await findNamedRuntime(facts(), name) }
      try {
        await probe()
        tried.set(name, trying)
      } finally {
        trying = null
      }
    },
  }
}
