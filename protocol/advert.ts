/**
 * A slot advertisement: what an agent gossips of itself. It may be late, lost or wrong, and no
 * correctness rests on it, so what cannot be true is refused; the coordinator knows slots from its own leases (see Soft state is
 * gossiped, hard state is leased in ARCHITECTURE.md).
 */

import * as cbor from '@ipld/dag-cbor'
import Type, { type Static } from 'typebox'
import { decodeBounded } from './cbor.ts'
import { limits } from './limits.ts'
import { Count, createParser } from './schema.ts'

const AdvertSchema = Type.Object({
  /** Grows with every advert of one agent process; an older one is ignored. */
  sequence: Count(),
  slotsFree: Count(limits.slotsMax),
  memoryFreeBytes: Count(),
  diskFreeBytes: Count(),
  /** Less is free than its floor: it takes no calls. */
  diskFull: Type.Boolean(),
  /** Whether its engine answers and runs our containers. Without one it takes no calls. */
  engineUp: Type.Boolean(),
  draining: Type.Boolean(),
  /** Image keys (see image.ts) that its engine holds, newest first. */
  images: Type.Array(Type.String({ maxLength: limits.imageKeyCharsMax }), {
    maxItems: limits.advertImagesMax,
  }),
  /** Containers that stand ready, by kind (see ready-key.ts). */
  ready: Type.Array(
    Type.Object({
      key: Type.String({ maxLength: limits.readyKeyCharsMax }),
      count: Count(limits.slotsMax),
    }),
    { maxItems: limits.advertReadyMax },
  ),
})
export type Advert = Static<typeof AdvertSchema>

const parse = createParser(AdvertSchema, 'BAD_PARAMETER', 'advert')

export const encodeAdvert = (advert: Advert): Uint8Array => cbor.encode(advert)
export const decodeAdvert = (bytes: Uint8Array): Advert => parse(decodeBounded(bytes))
