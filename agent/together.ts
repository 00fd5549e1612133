/** Side by side, and to the end: where one fails, nothing of the others goes on behind the failure. */

/** Rejects with the first failure in this order, once all have settled. */
export const together = async (parts: readonly Promise<unknown>[]): Promise<void> => {
  for (const settled of await Promise.allSettled(parts)) {
    if (settled.status === 'rejected') throw settled.reason
  }
}
