/**
 * How each member's presence shows from outside the ledger: when it was last heard, why it is not
 * connected, whether it obeys a later coordinator. For people alone: it decides nothing, and is not
 * kept over a restart, but for who left in order (membership.ts).
 */

export interface Absence {
  readonly reason: string
  /** Wall clock, ISO 8601. */
  readonly since: string
}

export interface Presence {
  heard(agentId: string): void
  /** Its connection ended without a farewell. */
  lost(agentId: string, reason: string): void
  /** Its hello told of a later epoch than ours. */
  wentAhead(agentId: string): void
  /** A session of it began. */
  came(agentId: string): void
  /** It is no member any more. */
  forget(agentId: string): void
  /** When it was last heard, as a wall clock's time; null for never. */
  seen(agentId: string): string | null
  /** Null where it is connected, or has not been heard of since the start. */
  absence(agentId: string): Absence | null
  isEpochAhead(agentId: string): boolean
}

export const createPresence = (wallMs: () => number): Presence => {
  const seen = new Map<string, string>()
  const absences = new Map<string, Absence>()
  const ahead = new Set<string>()
  const now = (): string => new Date(wallMs()).toISOString()
  return {
    heard: (agentId) => void seen.set(agentId, now()),
    lost: (agentId, reason) => void absences.set(agentId, { reason, since: now() }),
    wentAhead(agentId) {
      seen.set(agentId, now())
      ahead.add(agentId)
    },
    came(agentId) {
      seen.set(agentId, now())
      absences.delete(agentId)
      ahead.delete(agentId)
    },
    forget(agentId) {
      seen.delete(agentId)
      absences.delete(agentId)
      ahead.delete(agentId)
    },
    seen: (agentId) => seen.get(agentId) ?? null,
    absence: (agentId) => absences.get(agentId) ?? null,
    isEpochAhead: (agentId) => ahead.has(agentId),
  }
}
