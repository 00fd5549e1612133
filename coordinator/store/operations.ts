/**
 * What a commit is made of: rows put and deleted, bodies put and deleted. Of several operations on
 * one key the last counts.
 */

import type { BodyKind, Sublevel } from './tables.ts'

export type Operation =
  | {
      readonly type: 'put'
      readonly sublevel: Sublevel
      readonly key: string
      readonly value: unknown
    }
  | { readonly type: 'del'; readonly sublevel: Sublevel; readonly key: string }
  | {
      readonly type: 'put-body'
      readonly kind: BodyKind
      readonly key: string
      readonly bytes: Uint8Array
    }
  | { readonly type: 'del-body'; readonly kind: BodyKind; readonly key: string }

export const put = (sublevel: Sublevel, key: string, value: unknown): Operation => ({
  type: 'put',
  sublevel,
  key,
  value,
})
export const del = (sublevel: Sublevel, key: string): Operation => ({ type: 'del', sublevel, key })
export const putBody = (kind: BodyKind, key: string, bytes: Uint8Array): Operation => ({
  type: 'put-body',
  kind,
  key,
  bytes,
})
export const delBody = (kind: BodyKind, key: string): Operation => ({ type: 'del-body', kind, key })
