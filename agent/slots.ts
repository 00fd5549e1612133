/**
 * Room for calls: slots and memory, as numbers. Pure; who holds what is counted in attempt.ts. CPU
 * is a cap, not a reservation. These are people's machines.
 */

import { limits } from '../protocol/limits.ts'

export interface Room {
  readonly slots: number
  readonly memoryBytes: number
}

export interface HostSize {
  readonly cpus: number
  readonly memoryBytes: number
}

/** What the agent gives to calls: what it was told, else the defaults for this host. */
export const roomOf = (
  host: HostSize,
  told: { readonly slots: number | null; readonly memoryBytes: number | null },
): Room => ({
  slots: told.slots ?? Math.min(limits.slotsMax, Math.max(1, host.cpus) * limits.slotsPerCore),
  memoryBytes: told.memoryBytes ?? Math.floor(host.memoryBytes * limits.memoryShareDefault),
})

/** One call takes one slot and its memory. */
export const reserve = (free: Room, memoryBytes: number): Room => ({
  slots: free.slots - 1,
  memoryBytes: free.memoryBytes - memoryBytes,
})

export const fits = (free: Room, memoryBytes: number): boolean =>
  free.slots >= 1 && free.memoryBytes >= memoryBytes

/** What is free of `room` while calls of these sizes hold some. Never negative: for adverts. */
export const freeOf = (room: Room, heldMemoryBytes: readonly number[]): Room => {
  const free = heldMemoryBytes.reduce(reserve, room)
  return { slots: Math.max(0, free.slots), memoryBytes: Math.max(0, free.memoryBytes) }
}
