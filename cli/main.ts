#!/usr/bin/env -S node --
/**
 * The `hyper` command. It must parse on any Node that runs ES modules: an old one gets as far as
 * starting this program again under a newer one. Everything else is loaded by need.
 *
 * Without the `--` Node would take `--env-file` of `hyper func create` for its own as well.
 */

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const argv = process.argv.slice(2)

if (major > 22 || (major === 22 && minor >= 18)) {
  const { runProgram } = await import('./run.ts')
  await runProgram(argv)
} else {
  const { runUnderNewerNode } = await import('./newer-node.ts')
  await runUnderNewerNode(process.argv[1] ?? '', argv)
}

export {}
