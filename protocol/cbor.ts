/**
 * dag-cbor as it is read from others. Its decoder and the schemas cost about a microsecond an item,
 * whatever is in it: a frame of millions of empty items would hold everybody up for seconds. So the
 * items of one value are bounded, and so are its integers: those that a number cannot hold exactly
 * are refused. NaN, infinities and lengths beyond the bytes are refused by dag-cbor itself; what is
 * nested too deeply ends as an error, too.
 */

import { decodeOptions } from '@ipld/dag-cbor'
import { decode, Tokenizer } from 'cborg'
import { HyperError } from './errors.ts'
import { limits } from './limits.ts'

const options = { ...decodeOptions, allowBigInt: false }

class BoundedTokenizer extends Tokenizer {
  #left: number = limits.messageItemsMax

  override next(): ReturnType<Tokenizer['next']> {
    this.#left -= 1
    if (this.#left < 0) throw new HyperError('BAD_PARAMETER', 'a value has too many items')
    return super.next()
  }
}

/** Throws where the bytes are no dag-cbor, or beyond the bounds. */
export const decodeBounded = (bytes: Uint8Array): unknown =>
  decode(bytes, { ...options, tokenizer: new BoundedTokenizer(bytes, options) })
