/**
 * Finds the command's words in a command line. Global flags may stand before, between and after
 * them; everything else that is not a word of a command is left for the command to read. A word
 * that is none gets the nearest one told.
 */

import { HyperError } from '../protocol/errors.ts'
import { COMMANDS, commandsOf, findCommand, GROUPS } from './catalog.ts'
import { findSimilar } from './spelling.ts'

export type CommandWords =
  | { readonly kind: 'version' }
  | { readonly kind: 'help'; readonly words: string }
  | { readonly kind: 'command'; readonly words: string; readonly others: readonly string[] }

const isGroup = (word: string): boolean => GROUPS.some((group) => group.word === word)

const unknown = (what: string, word: string, candidates: readonly string[]): HyperError => {
  const similar = findSimilar(word, candidates)
  const hint = similar === undefined ? '' : `. Did you mean \`hyper ${what}${similar}\`?`
  const help = similar === undefined ? `. See \`hyper ${what}--help\`` : ''
  return new HyperError(
    'BAD_PARAMETER',
    `no such command: hyper ${what}${word.slice(0, 80)}${hint}${help}`,
  )
}

const unknownFirst = (word: string): HyperError =>
  unknown('', word, [
    ...new Set([...COMMANDS.map((command) => command.words.split(' ')[0] ?? ''), 'help']),
  ])

const unknownSecond = (group: string, word: string): HyperError =>
  unknown(
    `${group} `,
    word,
    commandsOf(group).map((command) => command.words.slice(group.length + 1)),
  )

/** `hyper help func create` */
const readHelp = (argv: readonly string[]): CommandWords => {
  const [first, second] = argv.filter((token) => !token.startsWith('-'))
  if (first === undefined) return { kind: 'help', words: '' }
  if (second !== undefined && isGroup(first)) {
    const words = `${first} ${second}`
    if (findCommand(words) === undefined) throw unknownSecond(first, second)
    return { kind: 'help', words }
  }
  if (!isGroup(first) && findCommand(first) === undefined) throw unknownFirst(first)
  return { kind: 'help', words: first }
}

const isHelp = (token: string): boolean => token === '--help' || token === '-h'

interface Word {
  readonly word: string | undefined
  /** Where it stands, or where the search ended. */
  readonly at: number
  /** Global flags that stood before it. */
  readonly flags: readonly string[]
  /** A flag that is not global stood in the way. */
  readonly isStopped: boolean
}

type GlobalLength = (token: string, next: string | undefined) => number

const nextWord = (argv: readonly string[], from: number, globalLength: GlobalLength): Word => {
  const flags: string[] = []
  let at = from
  for (;;) {
    const token = argv[at]
    if (token === undefined || token === '--') {
      return { word: undefined, at, flags, isStopped: token !== undefined }
    }
    if (!token.startsWith('-')) return { word: token, at, flags, isStopped: false }
    const length = globalLength(token, argv[at + 1])
    if (length === 0) return { word: undefined, at, flags, isStopped: true }
    flags.push(...argv.slice(at, at + length))
    at += length
  }
}

const readSecond = (
  group: string,
  first: Word,
  argv: readonly string[],
  globalLength: GlobalLength,
): CommandWords => {
  const second = nextWord(argv, first.at + 1, globalLength)
  const flags = [...first.flags, ...second.flags]
  if (flags.some(isHelp) && second.word === undefined) return { kind: 'help', words: group }
  if (second.word !== undefined) {
    const words = `${group} ${second.word}`
    if (findCommand(words) === undefined) throw unknownSecond(group, second.word)
    return { kind: 'command', words, others: [...flags, ...argv.slice(second.at + 1)] }
  }
  if (findCommand(group) !== undefined) {
    return { kind: 'command', words: group, others: [...flags, ...argv.slice(second.at)] }
  }
  if (!second.isStopped) return { kind: 'help', words: group }
  throw new HyperError(
    'BAD_PARAMETER',
    `unknown option ${argv[second.at]} of hyper ${group}. See \`hyper ${group} --help\``,
  )
}

export const readWords = (argv: readonly string[], globalLength: GlobalLength): CommandWords => {
  const first = nextWord(argv, 0, globalLength)
  const { word } = first
  if (word === undefined) {
    const token = argv[first.at]
    if (token === '--version' || token === '-v') return { kind: 'version' }
    if (!first.isStopped || first.flags.some(isHelp)) return { kind: 'help', words: '' }
    throw new HyperError('BAD_PARAMETER', `unknown option ${token}. See \`hyper --help\``)
  }
  if (word === 'help') return readHelp(argv.slice(first.at + 1))
  if (isGroup(word)) return readSecond(word, first, argv, globalLength)
  if (findCommand(word) === undefined) throw unknownFirst(word)
  return { kind: 'command', words: word, others: [...first.flags, ...argv.slice(first.at + 1)] }
}
