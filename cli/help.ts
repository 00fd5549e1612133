/** The help texts, made from the catalog: summary, usage, examples first, then the options. */

import {
  COMMANDS,
  type CommandSpec,
  commandsOf,
  findCommand,
  GLOBAL_OPTIONS,
  GROUPS,
  type OptionSpec,
} from './catalog.ts'

const columns = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(0, ...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
}

const optionRows = (options: readonly OptionSpec[]): string =>
  columns(
    options.map(({ flags, description }) => [
      flags.startsWith('--') ? `    ${flags}` : flags,
      description,
    ]),
  )

/** `<image> [...command]` → `IMAGE [COMMAND...]`: as Docker's users know it. */
const argumentsOf = (command: CommandSpec): string =>
  command.args
    .replace(/<\.\.\.(\w+?)s?>/g, (_all, name: string) => `${name.toUpperCase()}...`)
    .replace('[...command]', '[COMMAND [ARG...]]')
    .replace(/<(\w+)>/g, (_all, name: string) => name.toUpperCase())

const examples = (lines: readonly string[]): string =>
  lines.map((line) => `  $ hyper ${line}`).join('\n')

const commandHelp = (command: CommandSpec): string =>
  [
    command.summary,
    `Usage:  hyper ${[command.words, '[OPTIONS]', argumentsOf(command)].join(' ').trim()}`,
    `Examples:\n${examples(command.examples)}`,
    ...(command.options.length === 0 ? [] : [`Options:\n${optionRows(command.options)}`]),
    `Everywhere:\n${optionRows(GLOBAL_OPTIONS)}`,
  ].join('\n\n')

const summaries = (commands: readonly CommandSpec[]): string =>
  columns(commands.map(({ words, summary }) => [words, summary]))

const groupHelp = (group: string): string => {
  const commands = commandsOf(group)
  return [
    GROUPS.find(({ word }) => word === group)?.summary ?? '',
    `Usage:  hyper ${group} COMMAND`,
    `Examples:\n${examples(commands.flatMap((command) => command.examples.slice(0, 1)).slice(0, 4))}`,
    `Commands:\n${summaries(commands)}`,
    `\`hyper ${group} COMMAND --help\` tells more.`,
  ].join('\n\n')
}

const START = ['up', 'func create --name hi busybox echo hi', 'func call --sync hi', 'invite']

const programHelp = (): string => {
  const isOfGroup = ({ words }: CommandSpec): boolean =>
    GROUPS.some(({ word }) => words.startsWith(`${word} `)) && !words.startsWith('func ')
  const shown = COMMANDS.filter((command) => !isOfGroup(command) && command.words !== 'agents')
  return [
    'Serverless for any Docker image, on the machines you have.',
    'Usage:  hyper [OPTIONS] COMMAND',
    `Examples:\n${examples(START)}`,
    `Commands:\n${columns([
      ...shown.map(({ words, summary }) => [words, summary] as const),
      ...GROUPS.slice(1).map(({ word, summary }) => [`${word} …`, summary] as const),
    ])}`,
    `Options:\n${optionRows([...GLOBAL_OPTIONS, { flags: '-v, --version', description: 'The version of this program' }])}`,
    `Exit codes:\n${EXIT_CODES}`,
    '`hyper COMMAND --help` tells more.',
  ].join('\n\n')
}

const EXIT_CODES = columns([
  ['0', 'done'],
  ['1', 'failed: the coordinator said no'],
  ['2', 'wrong usage'],
  ['3', 'not found'],
  ['4', 'not allowed'],
  ['5', 'coordinator not reachable'],
  ['130', 'Ctrl-C'],
  ['', '`func call --sync` and `func get`: the function’s own exit code, and'],
  ['75', 'not finished yet'],
  ['124', 'the function timed out'],
  ['125', 'everything that is not the function’s own'],
  ['126', 'its command cannot be run'],
  ['127', 'its command is not in the image'],
  ['137', 'it was killed, or out of memory'],
])

/** Help on a command, a group of commands, or the program (`''`). */
export const helpOf = (words: string): string => {
  if (GROUPS.some(({ word }) => word === words)) return groupHelp(words)
  const command = findCommand(words)
  return command === undefined ? programHelp() : commandHelp(command)
}
