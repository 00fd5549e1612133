/**
 * Every command of `hyper`: its words, arguments, options, help and where its code is. Nothing of
 * a command's code is loaded before it runs, so that help is quick and client commands load no
 * more than they need. The catalog is the only source of parsing, help and completion.
 */

import { CLIENT_COMMANDS } from './catalog-client.ts'
import { DAEMON_COMMANDS } from './catalog-daemon.ts'
import { FUNC_COMMANDS } from './catalog-func.ts'
import type { Input } from './input.ts'

export interface OptionSpec {
  /** As cac writes it: `-e, --env <k=v>`; an option without `<…>` takes no value. */
  readonly flags: string
  readonly description: string
}

export interface RefusedOption {
  /** `['-v', '--volume']` */
  readonly flags: readonly string[]
  readonly why: string
}

/** Resolves to the exit code; nothing is 0. */
type RunCommand = (input: Input) => Promise<number | undefined>

export interface CommandSpec {
  /** `func create` */
  readonly words: string
  /** As cac writes it: `<image> [...command]`. */
  readonly args: string
  readonly summary: string
  readonly options: readonly OptionSpec[]
  /** Flags that people know from Docker and that have no place here, each with why. */
  readonly refused?: readonly RefusedOption[]
  /** Lines to copy and paste, without `hyper`. */
  readonly examples: readonly string[]
  /** Everything after the first argument belongs to the function's command. */
  readonly isFenced?: boolean
  /** Answers SIGINT and SIGTERM itself. */
  readonly isDaemon?: boolean
  readonly load: () => Promise<RunCommand>
}

export interface GroupSpec {
  readonly word: string
  readonly summary: string
}

export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { flags: '--json', description: 'Results as JSON; errors, too' },
  { flags: '-q, --quiet', description: 'Names and ids only' },
  { flags: '--endpoint <url>', description: 'Coordinator to talk to (HYPER_ENDPOINT)' },
  { flags: '-h, --help', description: 'This text' },
]

/** First words that need a second one, or can have it. */
export const GROUPS: readonly GroupSpec[] = [
  { word: 'func', summary: 'Functions and their calls' },
  { word: 'agents', summary: 'The machines that run calls' },
  { word: 'account', summary: 'Accounts, their tokens and quotas' },
  { word: 'context', summary: 'Coordinators this machine knows' },
]

export const COMMANDS: readonly CommandSpec[] = [
  ...FUNC_COMMANDS,
  ...CLIENT_COMMANDS,
  ...DAEMON_COMMANDS,
]

export const findCommand = (words: string): CommandSpec | undefined =>
  COMMANDS.find((command) => command.words === words)

export const commandsOf = (group: string): readonly CommandSpec[] =>
  COMMANDS.filter((command) => command.words.startsWith(`${group} `) || command.words === group)
