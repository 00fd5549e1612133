/**
 * Any character, for texts that hold anything: `fc.string({ unit: anyCharacter })` is what `unit: 'binary'`
 * makes, without the table of all 1.1 million of them, which takes seconds in each file.
 */

import fc from 'fast-check'

const isSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdfff

/** The way back: without it fast-check would leave out the texts it knows to be dangerous. */
const codeOf = (text: unknown): number => {
  if (typeof text !== 'string' || [...text].length !== 1) throw new TypeError('not one character')
  return text.codePointAt(0) ?? 0
}

export const anyCharacter = fc
  .nat(0x10_ffff)
  .filter((code) => !isSurrogate(code))
  .map((code) => String.fromCodePoint(code), codeOf)
