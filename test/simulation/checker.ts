export interface Failure { readonly invariant: string; readonly message: string; readonly atMs: number }
import type { Observation } from './history.ts'
export const checkHistory = (_observations: readonly Observation[]): Failure | null => null
