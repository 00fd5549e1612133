/**
 * Who may have how many containers ready, where not all can have what they want. Pure. Each kind gets
 * its first one before any gets a second; the one that was asked for last goes first in both.
 */

export interface Wish {
  readonly key: string
  readonly target: number
  /** Of one container that stands ready. */
  readonly bytes: number
  readonly askedMs: number
}

export const allot = (
  wishes: readonly Wish[],
  room: { readonly containers: number; readonly bytes: number },
): ReadonlyMap<string, number> => {
  const hottest = wishes.toSorted((a, b) => b.askedMs - a.askedMs)
  const given = new Map<string, number>()
  let { containers, bytes } = room
  const give = ({ key, bytes: each }: Wish, wanted: number): void => {
    const count = Math.max(0, Math.min(wanted, containers, Math.floor(bytes / each)))
    containers -= count
    bytes -= count * each
    given.set(key, (given.get(key) ?? 0) + count)
  }
  for (const wish of hottest) give(wish, Math.min(1, wish.target))
  for (const wish of hottest) give(wish, wish.target - (given.get(wish.key) ?? 0))
  return given
}
