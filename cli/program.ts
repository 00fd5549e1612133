/** This program itself: where its package is, how it is called, and whether it runs compiled. */

import { realpath } from 'node:fs/promises'
import { delimiter, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const isCompiled = import.meta.url.endsWith('.js')

/** The package's folder: this file is `cli/program.ts` or `dist/cli/program.js` of it. */
export const packageDir = fileURLToPath(new URL(isCompiled ? '../..' : '..', import.meta.url))

/** A module beside this one's room, compiled as this one is. */
export const modulePath = (name: string): string =>
  fileURLToPath(new URL(`../${name}.${isCompiled ? 'js' : 'ts'}`, import.meta.url))

/** Where `npm run build` puts hyper-init and hello. */
export const builtInitDir = join(packageDir, 'dist', 'agent', 'init')

/** How a user starts it: `hyper` where PATH finds this very program, `npx hyper` otherwise. */
export const commandName = async (path: string): Promise<string> => {
  const own = await realpath(join(packageDir, 'dist', 'cli', 'main.js')).catch(() => '')
  // npm puts this folder on PATH for its scripts only; the user's shell does not have it.
  const folders = path
    .split(delimiter)
    .filter((folder) => !folder.endsWith(join('node_modules', '.bin')))
  const found = await Promise.all(
    folders.map((folder) => realpath(join(folder, 'hyper')).catch(() => undefined)),
  )
  return own !== '' && found.includes(own) ? 'hyper' : 'npx hyper'
}

/** Whether this is a checkout, where `npx hyper` works in its folder only. */
export const isCheckout = !packageDir.includes(`${sep}node_modules${sep}`)
