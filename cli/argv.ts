/**
 * Prepares the arguments for cac and reads what it made of them. cac matches one word a command,
 * reads flags to the very end, and turns what looks like a number into one. So here: the command's
 * words are folded into one token; after IMAGE of a fenced command nothing is a flag any more; each
 * value stands behind a mark (U+2060) that keeps it text, also an empty one or one that begins
 * with `-`. Pure: says what is wanted, does nothing.
 */

import { CAC } from 'cac'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { type CommandSpec, findCommand, GLOBAL_OPTIONS, type OptionSpec } from './catalog.ts'
import { type CommandWords, readWords } from './words.ts'

const MARK = '\u2060'

export interface Parsed {
  readonly args: readonly string[]
  /** The function's command: what stands after IMAGE. */
  readonly rest: readonly string[]
  /** By cac's names: `envFile`. The last one wins, or all of them count. */
  readonly options: ReadonlyMap<string, readonly (string | boolean)[]>
}

export type Reading =
  | { readonly kind: 'version' }
  | { readonly kind: 'help'; readonly words: string }
  | { readonly kind: 'run'; readonly command: CommandSpec; readonly parsed: Parsed }

interface Known {
  readonly long: string
  readonly takesValue: boolean
}

/** `-e, --env <k=v>` → { e, env } */
const indexOptions = (options: readonly OptionSpec[]): ReadonlyMap<string, Known> => {
  const index = new Map<string, Known>()
  for (const { flags } of options) {
    const names = flags
      .replace(/<.*/, '')
      .split(',')
      .map((name) => name.trim().replace(/^--?/, ''))
    const long = names.at(-1) ?? ''
    for (const name of names) index.set(name, { long, takesValue: flags.includes('<') })
  }
  return index
}

const GLOBALS = indexOptions(GLOBAL_OPTIONS)

const isOption = (token: string): boolean => token.length > 1 && token.startsWith('-')

const usage = (message: string, words: string): HyperError =>
  new HyperError('BAD_PARAMETER', `${message}. See \`hyper ${words} --help\``)

/** One flag of the command line in cac's terms, and how many tokens it took. */
interface Flag {
  readonly names: readonly string[]
  readonly tokens: readonly string[]
  readonly taken: 1 | 2
}

/** cac knows a flag without a value by its camel-cased name only; under the other it takes a value. */
const flagName = (long: string): string =>
  long.startsWith('no-') ? long : long.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())

const emit = (known: Known, value: string | undefined): string => {
  if (!known.takesValue) return `--${flagName(known.long)}`
  return value === undefined ? `--${known.long}` : `--${known.long}=${MARK}${value}`
}

const readLong = (
  token: string,
  next: string | undefined,
  index: ReadonlyMap<string, Known>,
): Flag => {
  const [name = '', ...values] = token.slice(2).split('=')
  const known = index.get(name)
  if (known === undefined) return { names: [name], tokens: [token], taken: 1 }
  const names = [known.long]
  if (values.length > 0) {
    const value = values.join('=')
    if (!known.takesValue) throw new HyperError('BAD_PARAMETER', `option --${name} takes no value`)
    return { names, tokens: [emit(known, value)], taken: 1 }
  }
  if (!known.takesValue || next === undefined) {
    return { names, tokens: [emit(known, undefined)], taken: 1 }
  }
  return { names, tokens: [emit(known, next)], taken: 2 }
}

/** `-q`, `-fq`, `-eA=b`, `-e A=b` */
const readShort = (
  token: string,
  next: string | undefined,
  index: ReadonlyMap<string, Known>,
): Flag => {
  const names: string[] = []
  const tokens: string[] = []
  for (let at = 1; at < token.length; at += 1) {
    const known = index.get(token.charAt(at))
    if (known === undefined) return { names, tokens: [token], taken: 1 }
    names.push(known.long)
    if (!known.takesValue) {
      tokens.push(emit(known, undefined))
      continue
    }
    const attached = token.slice(at + 1)
    const value = attached === '' ? next : attached.replace(/^=/, '')
    tokens.push(emit(known, value))
    return { names, tokens, taken: attached === '' && next !== undefined ? 2 : 1 }
  }
  return { names, tokens, taken: 1 }
}

const readFlag = (
  token: string,
  next: string | undefined,
  index: ReadonlyMap<string, Known>,
): Flag => (token.startsWith('--') ? readLong(token, next, index) : readShort(token, next, index))

/** How many tokens a global flag takes; 0 for a flag that is not one. */
const globalLength = (token: string, next: string | undefined): number => {
  const name = token.replace(/^--?/, '').replace(/=.*/s, '')
  return GLOBALS.has(name) ? readFlag(token, next, GLOBALS).taken : 0
}

/** `-v/a:/b` and `--volume=/a:/b` name their flags, too; a known one always counts as itself. */
const refuseByName = (
  command: CommandSpec,
  token: string,
  index: ReadonlyMap<string, Known>,
): void => {
  const flag = token.startsWith('--') ? token.replace(/=.*/s, '') : token.slice(0, 2)
  if (index.has(flag.replace(/^--?/, ''))) return
  const found = command.refused?.find(({ flags }) => flags.includes(flag))
  if (found !== undefined) throw usage(`${flag} is not supported: ${found.why}`, command.words)
}

/** Everything after the command's words, as tokens for cac; null when help is asked for. */
const prepare = (command: CommandSpec, argv: readonly string[]): readonly string[] | null => {
  const index = indexOptions([...command.options, ...GLOBAL_OPTIONS])
  const tokens: string[] = []
  let isLiteral = false
  for (let at = 0; at < argv.length; ) {
    const token = argv[at] ?? ''
    if (!isLiteral && token === '--') {
      isLiteral = true
      at += 1
    } else if (!isLiteral && isOption(token)) {
      refuseByName(command, token, index)
      const flag = readFlag(token, argv[at + 1], index)
      if (flag.names.includes('help')) return null
      tokens.push(...flag.tokens)
      at += flag.taken
    } else {
      tokens.push(`${MARK}${token}`)
      at += 1
      if (command.isFenced === true) return [...tokens, '--', ...argv.slice(at)]
    }
  }
  return tokens
}

const unmark = (text: string): string => (text.startsWith(MARK) ? text.slice(MARK.length) : text)

const optionsOf = (raw: Record<string, unknown>): Parsed['options'] => {
  const options = new Map<string, readonly (string | boolean)[]>()
  for (const [name, value] of Object.entries(raw)) {
    if (name === '--') continue
    const values = [value]
      .flat()
      .map((one) => (typeof one === 'boolean' ? one : unmark(String(one))))
    options.set(name, values)
  }
  return options
}

/** What stands in `<…>` of the command's arguments, as the user is to write it: `IMAGE`. */
const wantedBy = ({ args }: CommandSpec): string =>
  [...args.matchAll(/<(?:\.\.\.)?([^>]+)>/g)].map(([, name = '']) => name.toUpperCase()).join(' ')

const parse = (command: CommandSpec, tokens: readonly string[]): Parsed => {
  const cli = new CAC('hyper')
  for (const { flags, description } of GLOBAL_OPTIONS) cli.option(flags, description)
  const registered = cli.command(`${command.words} ${command.args}`, command.summary)
  for (const { flags, description } of command.options) registered.option(flags, description)
  registered.action(() => undefined)
  try {
    const { args, options } = cli.parse(['', '', command.words, ...tokens], { run: false })
    cli.runMatchedCommand()
    const rest: unknown = options['--']
    return {
      args: args.map(unmark),
      rest: Array.isArray(rest) ? rest.map(String) : [],
      options: optionsOf(options),
    }
  } catch (error) {
    const told = messageOf(error).replaceAll(MARK, '')
    if (told.startsWith('missing required args')) {
      throw usage(`\`hyper ${command.words}\` needs ${wantedBy(command)}`, command.words)
    }
    throw usage(`${told.charAt(0).toLowerCase()}${told.slice(1)}`, command.words)
  }
}

const readCommand = (found: Extract<CommandWords, { kind: 'command' }>): Reading => {
  const command = findCommand(found.words)
  if (command === undefined) throw new HyperError('BAD_PARAMETER', `no command ${found.words}`)
  const tokens = prepare(command, found.others)
  if (tokens === null) return { kind: 'help', words: command.words }
  return { kind: 'run', command, parsed: parse(command, tokens) }
}

/** What a command line asks for. Throws BAD_PARAMETER for one that is wrong. */
export const readArguments = (argv: readonly string[]): Reading => {
  const found = readWords(argv, globalLength)
  return found.kind === 'command' ? readCommand(found) : found
}
